"""Where DMD's paper and the authors' code differ: each difference one named switch, or a reason why it is none.

A protocol is a set of switch values: "official" does what the code does, "paper" what the equations say. The switches
are fields of the model's configuration, so `--set name=value` overrides one and its effect can be measured alone.
No torch here: the command line, the audit and docs/deviations.md read this list too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from dmd_repro.spec import Scalar
from dmd_repro.systems.switches import Same, Switch, aliases_of, values_under

Protocol = Literal["official", "paper"]
PROTOCOLS: tuple[Protocol, ...] = ("official", "paper")


SWITCHES: tuple[Switch, ...] = (
    # architecture, in the order of the forward pass
    Switch("conv_padding", "valid", "same", ("valid", "same"), "architecture",
           "the temporal convolution keeps the length", "no padding: the length falls by kernel - 1",
           "section 3.1; model: proj_l, proj_a, proj_v"),
    Switch("margin_space", "aligned", "pooled", ("aligned", "pooled"), "architecture",
           "the margin compares X^com itself; how sequences of unequal length are compared is not said (ours: their "
           "mean over time)", "a further linear map of the flattened X^com (align_c), used by the margin loss only",
           "Eq. 4; model: align_c_l, align_c_a, align_c_v"),
    Switch("common_summary", "encoder", "mean", ("encoder", "mean"), "architecture",
           "X^com is fused itself; how a sequence becomes a vector is not said (ours: its mean over time)",
           "a self-attention encoder on each X^com, its last step", "section 3.4; model: self_attentions_c_*"),
    Switch("causal_mask", True, False, (), "architecture",
           "no mask: every query sees every key", "query i sees keys up to i + |Lk - Lq|, across modalities too",
           "Eq. 10; encoder: buffered_future_mask"),
    Switch("padding", "zeros", "masked", ("zeros", "masked"), "architecture",
           "sequences have their own lengths (ours: keys that are padding are masked, the last valid step is read, "
           "losses run over valid steps)", "padding is data: lengths are loaded and never used",
           "section 3.1; model: forward"),
    Switch("fusion", "replace", "weigh", ("replace", "weigh"), "architecture",
           "features are fused with learned weights (ours: each is multiplied by sigmoid of a linear map of itself)",
           "each feature is replaced by sigmoid(Linear(feature))", "section 3.4; model: weight_l, weight_a, weight_v, "
           "weight_c"),
    # graph units
    Switch("edge_projection", True, False, (), "architecture",
           "g reads [f(X), X] of both ends", "logits and features are projected first (W_logit, W_repr)",
           "Eq. 8; get_distillation_kernel: W_logit, W_repr"),
    Switch("edge_softmax", "all", "per_target", ("all", "per_target"), "architecture",
           "softmax-normalised, over which edges is not said (ours: over the sources of each target)",
           "one softmax over all six edges", "Eq. 8; kernel: forward"),
    Switch("edge_softmax_scale", 0.125, 1.0, (), "architecture",
           "no scale", "scores are multiplied by 1/8 before the softmax, which keeps it nearly uniform",
           "Eq. 8; run.py: alpha"),
    Switch("edge_prior", "authors", "none", ("authors", "uniform", "none"), "losses",
           "the weights are the learned ones", "a fixed prior is added to each learned edge: 0.48 on L->V and L->A "
           "(homo), 0.33 on L->V, L->A, V->A (hetero), under 0.01 elsewhere; `uniform` puts 1/6 on each",
           "Eq. 9; run.py: gd_prior"),
    # losses
    Switch("heads_supervised", True, False, (), "losses",
           "one mean absolute error, of the final output",
           "eight: output, three homo heads, three hetero heads and the head on the common features, weight 1 each",
           "Eq. 11; trainer: do_train"),
    Switch("norm_reduction", "mean", "sum", ("mean", "sum"), "losses",
           "squared Frobenius norms (ours: of each clip, mean over clips)", "mean squared error over all elements",
           "Eq. 2, 3; trainer: MSE"),
    Switch("margin", "label_distance", "constant", ("label_distance", "constant"), "losses",
           "triples: same class and other modality against same modality and other class, constant margin (its value "
           "is not printed: ours 0.2, `margin_alpha`; classes: labels rounded to integers)",
           "positives: every other row with exactly the anchor's label, its own clip too; negatives: every row with "
           "another label; margin 0.15 |y_i - y_k|", "Eq. 4; HingeLoss"),
    Switch("ort_axis", "batch", "feature", ("batch", "feature"), "losses",
           "the cosine of two feature vectors", "torch 1.9 takes axis 1 of (T', N, d): the cosine runs over the clips "
           "of a batch; torch >= 1.10 refuses that call", "Eq. 5; trainer: CosineEmbeddingLoss"),
    Switch("ort_clamp", True, False, (), "losses",
           "the cosine itself", "negative cosines count as 0", "Eq. 5; trainer: CosineEmbeddingLoss"),
    Switch("edge_reg", True, False, (), "losses",
           "no such term", "10 times the squared distance of the batch-mean edges from the prior",
           "section 3.3; kernel: distillation_loss"),
    Switch("homo_repr", False, False, (), "losses",
           "logits alone are distilled", "the distance of the homogeneous features is computed and dropped",
           "Eq. 7; trainer: do_train"),
    Switch("hetero_repr", True, False, (), "losses",
           "logits alone are distilled", "10 times a cosine term that pushes heterogeneous features apart",
           "Eq. 7; trainer: do_train"),
    # training
    Switch("accumulate", 10, 1, (), "training",
           "not said: every batch steps", "gradients of ten batches are summed, not averaged, for one step",
           "section 4.1; config: update_epochs"),
    Switch("trailing_step", False, True, (), "training",
           "not said", "the batches that do not fill the last window of an epoch never step", "trainer: do_train"),
    Switch("clip_value", 0.6, 0.0, (), "training",
           "none", "after every backward the summed gradient is clamped to +-0.6", "trainer: clip_grad_value_", "clip"),
    Switch("max_epochs", 200, 30, (), "training",
           "30 epochs", "no limit, early stopping ends it (200 is ours, so that a plan has an estimate)",
           "section 4.1; trainer: do_train", "epochs"),
    Switch("early_stop", 10, 0, (), "training",
           "none", "ten epochs after the best one", "section 4.1; config: early_stop"),
    Switch("selection_mean", "batches", "clips", ("batches", "clips"), "training",
           "chosen on the validation set: the mean over its clips", "mean of the means of shuffled batches",
           "section 4.1; trainer: do_test"),
    Switch("selection_digits", 4, 12, (), "training",
           "not said", "the validation loss is rounded to four digits, a tie keeps the earlier epoch",
           "trainer: do_test", "selection_rounding"),
)  # fmt: skip

SAME: tuple[Same, ...] = (
    Same("teacher", "the teacher is detached in the distance; edges and their inputs are not",
         "the paper does not say; a teacher that moves towards its student would not be distilled from",
         "Eq. 7, 9"),
    Same("edge map", "one linear map on [student, teacher], shared by all pairs", "Eq. 8 prints the same form",
         "Eq. 8"),
    Same("positions", "sinusoidal, absolute, none where channel 0 is exactly 0",
         "the paper prints no positions, but attention without any is blind to order", "section 3.3"),
    Same("layer norm", "before each block, the first one shared by query, key and value", "the paper is silent",
         "section 3.3"),
    Same("memory encoders", "a self-attention encoder (4 layers, width 2d) on the two reinforced features of a target",
         "the paper follows the multimodal transformer, which has it", "section 3.3"),
    Same("homogeneous heads", "read X^com flattened over time", "the paper is silent", "section 3.2"),
    Same("attention dropout", "follows the source of keys and values", "the paper is silent", "config"),
    Same("optimizer", "Adam without weight decay, one group, 1e-4, halved after 5 epochs without a better loss",
         "the paper names none", "section 4.1"),
    Same("weights of the terms", "0.1 (rec + cyc + 0.1 (mar + ort)), 0.05 on each unit's loss",
         "the paper's lambda_1, gamma and lambda_2 have these values", "Eq. 6, 11"),
    Same("graph loss over a batch", "mean over clips, sum over edges", "Eq. 9 is printed for one clip", "Eq. 9"),
    Same("decoupling", "encoders and decoders are linear maps of one time step, without bias; the reconstruction is "
         "encoded again without being detached", "Eq. 1-3 leave the form of the encoders open", "Eq. 1-3"),
    Same("text dropout", "dropout on the language features alone, before the convolution", "the paper is silent",
         "model: forward"),
    Same("residual heads", "Linear, ReLU, dropout, Linear, plus the input, then Linear to 1, everywhere",
         "the paper shows no head", "section 3.4"),
    Same("initialisation", "xavier-uniform in the encoders, torch's defaults elsewhere (the distributions; the random "
         "bits are ours)", "the paper is silent", "encoder"),
    Same("order of clips", "all three splits are shuffled, the last, smaller batch is kept; test is scored at each "
         "epoch and selects nothing", "only the training order matters to a model's weights", "data loader"),
    Same("averages over seeds", "measures are rounded to four digits before they are averaged, STD is the population "
         "one, MAE is filed times 100", "no protocol does it here: it is how results are told, not how they are made; "
         "tables here average unrounded values and say which STD they print", "runner"),
    Same("missing values", "acoustic -inf becomes 0, NaN is kept", "the paper is silent; without the 0 nothing can be "
         "trained, and a file with NaN is refused at import here unless asked otherwise", "loader"),
)  # fmt: skip

ALIASES: dict[str, str] = aliases_of(SWITCHES)


def turned(protocol: str, config: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return the switches of model and losses that a configuration sets otherwise than its protocol does."""
    values = {s.name: s.value(protocol) for s in SWITCHES if s.group != "training"}
    return {name: config[name] for name, value in values.items() if name in config and config[name] != value}


def switch_values(protocol: Protocol) -> dict[str, Scalar]:
    """Return the value of every switch under a protocol."""
    return values_under(SWITCHES, protocol)
