"""Each case in a fresh process: its peak of memory is its own, and neither caches nor threads are left from another."""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

from dmd_repro.bench.one import Bench, InTurn
from dmd_repro.bench.prepare import prepare
from dmd_repro.bench.types import Case, Memory, Plain, Prepared, Result, Spread
from dmd_repro.data.store.folder import Store
from dmd_repro.errors import DmdError, SpecError
from dmd_repro.training.execution import out_of_memory

Say = Callable[[str], None]


def measure(cases: Sequence[Case], store: Store, *, say: Say = lambda line: None) -> list[Result]:
    """Measure the cases one after the other and return what was found, in order.

    All of them are understood before any is measured. Raises SpecError or DataError for what cannot be measured: an
    unknown name, a device that is not there, seeds that cannot be stacked, a stack that does not fit in memory.
    """
    understood = [prepare(case, store) for case in cases]
    found = []
    for i, prepared in enumerate(understood):
        head = f"[{i + 1}/{len(cases)}]"
        say(f"{head} {prepared.title}")
        result, in_turn = _apart(prepared, store, "ours", lambda line, head=head: say(f"{head}   {line}"))  # type: ignore[misc]
        if in_turn is not None:
            say(f"{head}   memory of plain")
            memory = _apart(prepared, store, "plain", say)
            result = replace(result, plain=compared(result, in_turn, memory))
        found.append(result)
    return found


def compared(ours: Result, in_turn: InTurn, memory: Memory) -> Plain:
    """Set the plain implementation beside ours."""
    return Plain(
        step_ms=Spread.of(in_turn.plain),
        seed_step_ms=median(in_turn.ours) / ours.stack,
        ratio=Spread(median(in_turn.ratios), min(in_turn.ratios), max(in_turn.ratios), len(in_turn.ratios)),
        memory=memory,
        memory_ratio=memory.above * ours.stack / max(ours.memory.above, 1),
    )


def _apart(prepared: Prepared, store: Store, what: str, say: Say) -> Any:
    """Do one measurement in a spawned process and return what it sends back."""
    context = multiprocessing.get_context("spawn")
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler would write to stderr on its own account
    pipe, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(theirs, prepared.case, store.root, what), daemon=True)
    process.start()
    theirs.close()  # so that the pipe ends when the process does
    try:
        while True:
            kind, content = pipe.recv()
            if kind == "said":
                say(content)
            elif kind == "found":
                return content
            elif kind == "refused":
                raise content
            else:
                raise RuntimeError(f"a measurement failed:\n{content}")
    except (EOFError, OSError):
        process.join(timeout=10)
        if process.exitcode == -signal.SIGKILL:
            raise _too_large(prepared.case, "its process was killed, most often because memory ran out") from None
        raise RuntimeError(f"a measuring process ended with code {process.exitcode}") from None
    finally:
        process.terminate()
        process.join(timeout=5)
        pipe.close()


def _child(pipe: Connection, case: Case, root: Path, what: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent stops us
    with suppress(OSError):  # if memory runs out, this process is to go, not its neighbours
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    try:
        bench = Bench(case, Store(root), capture=what == "ours")
        found: Any = bench.run(lambda line: pipe.send(("said", line))) if what == "ours" else bench.plain_memory()
        pipe.send(("found", found))
    except DmdError as error:
        pipe.send(("refused", error))
    except BrokenPipeError:
        os._exit(1)  # nobody is there to be told
    except (MemoryError, RuntimeError) as error:
        if out_of_memory(error):
            pipe.send(("refused", _too_large(case, str(error).partition("\n")[0])))
        else:
            pipe.send(("broken", traceback.format_exc()))
    except Exception:
        pipe.send(("broken", traceback.format_exc()))


def _too_large(case: Case, got: str) -> SpecError:
    lower = "Lower --stack" if case.stack > 1 else "Lower --set batch_size"
    return SpecError.at(f"--stack {case.stack}", expected="a step that fits in memory", got=got, do=lower)
