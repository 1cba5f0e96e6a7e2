"""Objects of other libraries in a pickle: known by their names, never made, and a sentence for whoever would read one.

A pandas column, a path or a set beside the features is no reason to refuse a file in which nobody reads it. Such a name
stands for nothing at all here; what it would have made is a `Foreign`, which the importer refuses where it reads it.
Every other name ends the reading at once (`refused_name`).
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

_TYPES = "bool|bool_|float16|float32|float64|int8|int16|int32|int64|uint8|uint16|uint32|uint64|str_|bytes_|longdouble"


@dataclass(frozen=True, slots=True)
class Foreign:
    """A value that is not read here: what it is, and how it can be written so that it is."""

    what: str
    do: str


@dataclass(frozen=True, slots=True)
class _Kind:
    names: re.Pattern[str]
    value: Foreign


def _kind(pattern: str, what: str, do: str) -> _Kind:
    return _Kind(re.compile(pattern), Foreign(what, do))


ANY_SET = Foreign("a set", "Write sorted(x) in place of each set x")
_KINDS = (
    _Kind(re.compile(r"(__builtin__|builtins)\.(set|frozenset)"), ANY_SET),
    _kind(
        r"pandas\.(Series|DataFrame|\w*Index|Timestamp|Timedelta|Period|Interval|Categorical\w*|\w*Dtype|arrays\.\w+)|"
        r"pandas\.(_libs|core\.(series|frame|generic|indexes|internals|arrays|dtypes|strings))\.[\w.]+|"
        r"pyarrow\.lib\.(_restore_array|type_for_alias|chunked_array|py_buffer|\w*Array|\w*Type)",
        "a pandas object",
        "Write pandas columns with .to_numpy() (numbers) or .tolist() (ids, text), then pickle the dict again",
    ),
    _kind(
        r"torch\.(_utils\._rebuild_\w+|storage\.(_load_from_bytes|\w*Storage)|\w+Storage|Size|device|Tensor|"
        r"(b?float|u?int|half|double|long|bool|complex)\w*|nn\.parameter\.\w+|serialization\._get_layout)",
        "a torch tensor",
        "Write x.detach().cpu().numpy() in place of each tensor x, then pickle the dict again",
    ),
    _kind(
        r"numpy\.ma(\.core)?\.(_mareconstruct|MaskedArray|MaskedConstant|mvoid)",
        "a masked array",
        "Write x.filled(0) in place of each masked array x, then try again",
    ),
    _kind(
        r"numpy\.(matrix(lib\.defmatrix\.matrix)?|(core\.|_core\.)?(rec(ords)?\.)?(recarray|record|memmap(\.memmap)?)|chararray)",
        "another kind of array than a plain one",
        "Write np.array(x) in place of each such array x, then pickle the dict again",
    ),
    _kind(rf"numpy\.({_TYPES}|generic|number)", "a type in place of a value", "Take it out, or write str(x)"),
    _kind(r"scipy\.sparse\.[\w.]+", "a sparse matrix", "Write x.toarray() in place of each sparse matrix x"),
    _kind(r"pathlib(\._local)?\.\w*Path", "a path", "Take it out, or write str(path)"),
    _kind(
        r"(datetime\.(date|time|datetime|timedelta|timezone)|decimal\.Decimal|fractions\.Fraction|uuid\.UUID)",
        "a date or a number of another library",
        "Write it as text or as a float",
    ),
    _kind(
        r"(argparse\.Namespace|types\.SimpleNamespace|easydict\.EasyDict|addict(\.addict)?\.Dict|omegaconf\.[\w.]+|"
        r"yacs\.config\.CfgNode|ml_collections\.[\w.]+)",
        "a bundle of settings",
        "Take it out, or write dict(vars(x))",
    ),
    _kind(
        r"(collections\.(Counter|deque|ChainMap)|(__builtin__|builtins)\.(slice|complex|x?range|object|"
        r"tuple|list|dict|int|float|str|bool|bytearray|unicode|long|Ellipsis|NotImplemented)|"
        r"(copyreg|copy_reg)\.(_reconstructor|__newobj__))",
        "an object of Python that is no list, dict, text or number",
        "Write it as a list, a dict or text",
    ),
)  # fmt: skip
_LOADERS = {"numpy", "torch", "pandas", "scipy", "joblib", "dill", "cloudpickle", "tensorflow", "keras", "IPython"}


def foreign(module: str, name: str) -> Foreign | None:
    """Return what a name of another library would make; None if the name is not one that may be passed over."""
    if "." in name:  # a method, which is no data
        return None
    full = f"{module}.{name}"
    return next((kind.value for kind in _KINDS if kind.names.fullmatch(full)), None)


def runs_code(module: str) -> bool:
    """Whether a name of this module that is no kind of data stands in a pickle only to do something when it is read."""
    top = module.partition(".")[0]
    return top in sys.stdlib_module_names or top in _LOADERS or top in ("__builtin__", "nt", "copy_reg")
