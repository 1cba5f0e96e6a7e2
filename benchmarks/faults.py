"""A long session of faults to the real command; prints the table of docs/faults.md.

    python benchmarks/faults.py --minutes 10 [--start 10000]

Every fault has a number, which is the seed of all its choices: `--only NUMBER` repeats one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))

import fault_trust
from fault_session import Session
from fault_tools import Faulty

# how many of each in a round: quick ones more often
ROUND = {
    "kill_import": 6, "kill_download": 2, "kill_training": 4, "kill_reproduce": 1, "kill_report": 2, "full_disk": 5,
    "no_rights": 1, "wrong_clock": 1, "two_at_once": 1, "damaged_runs": 8, "damaged_store": 8,
    "unreadable_runs": 4, "no_locks": 2, "outputs": 4, "strangers": 4, "odd_values": 4, "repair_at_work": 1,
}  # fmt: skip


def one(session: Session, other: Faulty, name: str, number: int) -> None:
    """Do one fault."""
    if name == "kill_reproduce":
        session.kill_training(number, "reproduce")
    elif name == "two_at_once":
        session.two_at_once(number, other)
    elif name == "repair_at_work":
        fault_trust.repair_at_work(session, number, other)
    elif hasattr(fault_trust, name):
        getattr(fault_trust, name)(session, number)
    else:
        getattr(session, name)(number)


def main() -> None:
    """Do rounds until the time is over."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--start", type=int, default=10_000)
    parser.add_argument("--only", type=int, default=None)
    parser.add_argument("--kinds", default=",".join(ROUND), help="names of ROUND, joined by commas")
    options = parser.parse_args()
    failures, number = 0, options.start
    deadline = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory() as folder, Faulty() as dmd, Faulty() as other:
        Path(folder).chmod(0o755)
        session = Session(Path(folder), dmd)
        while time.monotonic() < deadline:
            for name, times in ((n, t) for n, t in ROUND.items() if n in options.kinds.split(",")):
                for _ in range(times):
                    number += 1
                    if options.only not in (None, number):
                        continue
                    try:
                        one(session, other, name, number)
                    except Exception:
                        failures += 1
                        print(f"FAULT {number} ({name}) was not survived:")
                        traceback.print_exc()
                    if time.monotonic() > deadline:
                        break
            if options.only is not None:
                break
    print("| fault | times |")
    print("|---|---|")
    for what, count in sorted(session.counts.items()):
        print(f"| {what} | {count} |")
    print(f"| **all** | {sum(session.counts.values())} |")
    print(f"| records lost or wrongly counted, sets damaged, tracebacks | {failures} |")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
