"""Graph-MFN's settings: MMSA's, since the authors' own are not public."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dmd_repro.spec import AblationMask
from dmd_repro.systems.config import InputNeeds, TrainConfig, check_lengths, check_words, no_preset
from dmd_repro.systems.declare import Evidence, Setting, System
from dmd_repro.systems.rules import DEMONSTRATION, MMSA
from dmd_repro.systems.switches import Switch

SWITCHES = (
    Switch("nodes", "frozen", "trained", ("frozen", "trained"), "architecture",
           "every node of the graph is a learned net", "four of the five node nets lie in a plain dict: no optimizer "
           "finds them, no checkpoint holds them, they keep their random start (here they are saved)",
           "MMSA, Graph_MFN.py; CMU-MultimodalSDK, dynamic_fusion_graph"),
)  # fmt: skip


@dataclass(frozen=True)
class GraphMFNConfig(TrainConfig):
    """Settings of the net and of the input stage; the defaults are MMSA's for CMU-MOSEI."""

    hidden_l: int = 64
    hidden_a: int = 16
    hidden_v: int = 64
    memory: int = 300
    node: int = 128
    att2: int = 32
    gamma1: int = 64
    gamma2: int = 256
    out: int = 128
    dropout_att2: float = 0.5
    dropout_gamma1: float = 0.0
    dropout_gamma2: float = 0.7
    dropout_out: float = 0.7
    nodes: str = "frozen"
    align: str = "none"  # or pool: unequal lengths by average pooling, which no printed row did
    last_steps: int = 0
    pad_side: str = "left"
    visual_scale: str = "none"

    def check(self, steps: Mapping[str, int], mask: AblationMask = AblationMask()) -> None:
        """Raise SpecError for unequal lengths without a named pooling: the decoders and the graph need one length."""
        check_words(self, align=("none", "pool"), visual_scale=("none", "train_max"), nodes=("frozen", "trained"))
        check_lengths("graph-mfn", self.align, steps, do="--set align=pool (average pooling; no printed row did that)")


PRESETS = {  # config_regression.json
    "mosei": GraphMFNConfig(batch_size=64, learning_rate=2e-3, weight_decay=1e-3, **MMSA),
    "mosi": GraphMFNConfig(
        hidden_l=256, hidden_a=32, hidden_v=256, node=64, gamma1=128, gamma2=64, out=256, dropout_att2=0.0,
        dropout_gamma1=0.5, dropout_gamma2=0.5, dropout_out=0.0, batch_size=32, learning_rate=2e-3, weight_decay=5e-3,
        **MMSA,
    ),
    "synthetic": GraphMFNConfig(
        hidden_l=24, hidden_a=8, hidden_v=8, memory=24, node=12, att2=16, gamma1=16, gamma2=16, out=16,
        dropout_att2=0.1, dropout_gamma2=0.2, dropout_out=0.2, **DEMONSTRATION,
    ),
}  # fmt: skip


def preset(dataset: str, *, aligned: bool, protocol: str) -> GraphMFNConfig:
    """Return the configuration of a data set; raises SpecError naming the nearest one."""
    if dataset not in PRESETS:
        raise no_preset("graph-mfn", dataset, PRESETS)
    return PRESETS[dataset]


def evidence(setting: Setting) -> dict[str, Evidence]:
    """Return on what the system stands."""
    return {
        "net": Evidence("ported", "equal to MMSA's Graph_MFN, whose graph is the CMU-MultimodalSDK's"),
        "training": Evidence("ported", "MMSA's trainer"),
        "settings": Evidence("ported", "MMSA's; the authors' own are not public"),
        "inputs": Evidence("from text", "today's GloVe files; MMSA's values were found on BERT states")
        if setting.aligned
        else Evidence("reconstructed", "unequal lengths by average pooling, which no printed row did"),
    }


SYSTEM = System(
    name="graph-mfn",
    title="Graph-MFN",
    paper="Zadeh et al.: Multimodal Language Analysis in the Wild, ACL 2018",
    model="dmd_repro.systems.graph_mfn.model:GraphMFN",
    config=GraphMFNConfig,
    preset=preset,
    inputs=InputNeeds(unaligned_by="pool"),
    switches=SWITCHES,
    evidence=evidence,
    datasets=tuple(PRESETS),
    official="dmd_repro.systems.graph_mfn.official:told",
)
