"""How a run is computed: device, threads, determinism, and what becomes of a device that fails.

torch is imported where a device is touched, so that a plan can name its execution without it.
"""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dmd_repro.errors import SpecError
from dmd_repro.spec import RunSpec
from dmd_repro.training import cards

if TYPE_CHECKING:
    import torch

MOST_THREADS = 256  # beyond this and the machine's cores a process hangs or dies


@dataclass(frozen=True, slots=True)
class Execution:
    """How a run is computed, as opposed to what: numerical noise, so kept out of the run's identity."""

    device: str = "cpu"  # cpu, cuda (all cards), cuda:1, cuda:0,1
    threads: int = 1
    deterministic: bool = True
    stack: int = 1  # the most seeds that train as one model; 0: what the device has room for
    sharers: int = 1  # processes that train on the same device
    bert: str = ""  # where the BERT lies that a spec names by its weights: a folder or a hub name
    cache: str = ""  # the folder that keeps what a frozen BERT has encoded; "": kept in memory only

    def __post_init__(self) -> None:
        """Refuse a name that is none: a plan or a cluster's job would only find out later."""
        cards.check_device(self.device)

    def facts(self) -> dict[str, Any]:
        """Return what of it can move a bit of a result; of a card what it is, not which of several.

        On a CPU also whether compiled kernels compute: they round otherwise.
        """
        found = {"device": cards.kind(self.device), "threads": self.threads, "deterministic": self.deterministic}
        if found["device"] == "cuda":
            import torch

            found["card"] = torch.cuda.get_device_name(cards.one_of(self.device))
        elif found["device"] == "cpu":
            from dmd_repro.nn.compiled import way

            found |= {"compiled": way()} if way() else {}
        return found

    def prepare(self) -> torch.device:
        """Set threads and determinism and return the device, of several cards the first.

        Raises SpecError if one is not there.
        """
        import torch

        if self.threads > (most := max(MOST_THREADS, os.cpu_count() or 1)):
            raise SpecError.at(
                f"--threads {self.threads}", expected=f"at most {most}", got=str(self.threads),
                do="Use as many as the machine has cores, or fewer",
            )  # fmt: skip
        if self.deterministic:  # read when the GPU's matrix library begins
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        try:
            if cards.count(self.device) > 1 and (absent := _absent(self.device)):
                raise RuntimeError(absent)
            device = torch.device(cards.one_of(self.device))
            torch.zeros(1, device=device).item()  # "meta" takes tensors too, and can give nothing back
        except (RuntimeError, AssertionError) as error:
            said = str(error).partition("\n")[0].partition(". ")[0].rstrip(".")
            if said.startswith(("Expected one of", "Invalid device string")):  # torch lists two dozen kinds
                said = "an unknown name"
            raise SpecError.at(
                f"--device {self.device}", expected="a device of this machine", got=said, do=_other_device()
            ) from None
        if device.type == "cuda" and device.index is not None:  # our kernels and captured steps go to the current card
            torch.cuda.set_device(device)
        torch.set_num_threads(self.threads)
        torch.use_deterministic_algorithms(self.deterministic, warn_only=device.type != "cpu")
        # the mode would also fill every new tensor with NaN, which costs time and no operation here needs
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        return device


def _absent(device: str) -> str:
    """Say which of several named cards are not there; "" where all are."""
    found = cards.seen()
    lost = [f"cuda:{number}" for number in cards.numbers(device) if number >= found]
    return f"no {' and no '.join(lost)}" if lost else ""


def _other_device() -> str:
    """Return what a machine has in place of the device that was asked for."""
    import torch

    if not (found := torch.cuda.device_count()):
        return "Use --device cpu, or install a torch build for your GPU"
    return f"Use {', '.join(['cpu', 'cuda', *(f'cuda:{i}' for i in range(found))])}"


def check_precision(spec: RunSpec, device: str) -> None:
    """Raise SpecError where a run asks for products that its device does not have."""
    asked = str(spec.config.get("precision", "float32"))
    if asked != "float32" and not device.startswith("cuda"):
        raise SpecError.at(
            f"--set precision={asked}", expected="a GPU, which has such products", got=f"the device {device}",
            do="Add --device cuda, or drop it",
        )  # fmt: skip


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error is the device's, a library's or the allocator's want of memory."""
    import torch

    words = ("can't allocate memory", "out of memory", "ALLOC_FAILED")
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(word in str(error) for word in words)


def release(device: torch.device) -> None:
    """Give back what nobody holds any more; a loop and its captured steps hold each other, so they have to be found."""
    import torch

    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


def device_failure(execution: Execution) -> str:
    """Return why the device of an execution can compute nothing more in this process; "" where it can.

    An error on a GPU stays with the process that met it: whatever runs there next would fail for it too.
    """
    import torch

    if not execution.device.startswith("cuda"):
        return ""
    try:
        torch.cuda.synchronize()
        torch.zeros(1, device=cards.one_of(execution.device)).add_(1).item()
    except RuntimeError as error:
        return "" if out_of_memory(error) else str(error).partition("\n")[0]
    return ""
