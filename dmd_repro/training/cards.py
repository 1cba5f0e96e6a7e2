"""The names of devices: one card, several, or every card that this process sees.

No torch is loaded where a name is read, so that a plan can be made where there is none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from dmd_repro.errors import SpecError

VARIABLE = "CUDA_VISIBLE_DEVICES"  # what a process sees of the machine's cards
_CARDS = re.compile(r"(?:(?:cuda|gpu)[ :_-]?|(?=[0-9]))(.*)")
_SPAN = re.compile(r"([0-9]{1,4})(?:-([0-9]{1,4}))?")
_MOST = 64  # cards of a span that is read to say what was meant


def check_device(name: str) -> None:
    """Raise SpecError for a name in another form than cpu, cuda, cuda:1 or cuda:0,1, where what is meant is plain.

    Whether the device is there is not asked: a plan may be made on another machine.
    """
    form = name.strip().lower()
    if name == "cuda" or not (found := _CARDS.fullmatch(form)):
        return
    if form in ("cuda", "gpu"):
        raise _meant(name, "cuda")
    numbers: list[int] = []
    for word in (part.strip().removeprefix("cuda:") for part in found[1].split(",")):
        if not (span := _SPAN.fullmatch(word)) or (first := int(span[1])) > (last := int(span[2] or first)):
            raise SpecError.at(
                f"--device {name}", expected="numbers of cards, 0 to 9999", got=repr(word) if word else "nothing",
                do="Write --device cuda:0,1 for two cards, --device cuda for all",
            )  # fmt: skip
        numbers.extend(range(first, min(last, first + _MOST) + 1))
    if twice := [number for number in numbers if numbers.count(number) > 1]:
        raise SpecError.at(
            f"--device {name}", expected="each card once", got=f"card {twice[0]} twice",
            do=f"Write --device {_written(sorted(set(numbers)))}; --jobs puts several runs on a card",
        )  # fmt: skip
    if (meant := _written(numbers)) != name:
        raise _meant(name, meant)


def _meant(name: str, meant: str) -> SpecError:
    return SpecError.at(f"--device {name}", expected="a device by its name", got="another", do=f"Did you mean {meant}?")


def _written(numbers: list[int]) -> str:
    return f"cuda:{','.join(map(str, numbers))}"


def numbers(device: str) -> tuple[int, ...]:
    """Return the cards that a checked name says by number: (0, 1) of cuda:0,1; () of cuda, which means all, and cpu."""
    words = device.partition(":")[2] if device.startswith("cuda:") else ""
    return tuple(int(word) for word in words.split(",") if word)


def kind(device: str) -> str:
    """Return what a record says of a device: which of several equal cards it was moves nothing."""
    return device.partition(":")[0]


def one_of(device: str) -> str:
    """Return the device that a single process takes: of several cards the first."""
    return f"cuda:{named[0]}" if len(named := numbers(device)) > 1 else device


def count(device: str) -> int:
    """Return how many devices a name stands for; for "cuda" every card that is seen here, 1 where there is none."""
    if device != "cuda":
        return max(1, len(numbers(device)))
    return max(1, seen())


def seen() -> int:
    """Return how many cards this process sees; 0 without torch, as on a login node."""
    try:
        import torch
    except ImportError:
        return 0
    return torch.cuda.device_count()


def environments(device: str, found: int, visible: str | None) -> list[Mapping[str, str]]:
    """Return the environment of a process on each card of a name: one in which "cuda" means that card alone.

    `found` cards are seen here, `visible` is what CUDA_VISIBLE_DEVICES says here (numbers or the cards' own names;
    None where it is not set). A card that is not there is left to its process to find.
    """
    names = [word.strip() for word in visible.split(",")] if visible is not None else list(map(str, range(found)))
    wanted = numbers(device) or tuple(range(found))
    return [{VARIABLE: names[number] if number < len(names) else str(number)} for number in wanted]
