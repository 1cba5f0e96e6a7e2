"""MISA: modality-invariant and modality-specific representations."""
