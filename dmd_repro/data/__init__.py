"""Features on their way in: files of strangers, the store, the synthetic stand-in, batches."""

from dmd_repro.data.features import TEXT_KINDS, Features, FeatureSet, Standing, TextKind
from dmd_repro.data.resolve import load_features
from dmd_repro.data.store.folder import Store

__all__ = ["TEXT_KINDS", "FeatureSet", "Features", "Standing", "Store", "TextKind", "load_features"]
