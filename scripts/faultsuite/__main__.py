"""`scripts/faults`: see docs/faults.md."""

from __future__ import annotations

import argparse
import random
import sys
from fnmatch import fnmatch
from pathlib import Path

from . import (
    chaos,
    cuts,
    damage,
    handover,
    moments,
    planted,
    points,
    processes,
    real,
    storecases,
    strangers,
    surroundings,
)
from .box import ROOT
from .case import Case
from .running import Outcome, Runner
from .table import table, write

SMOKE = (
    "attempts.exited.commit, killed, fresh",
    "attempts.exited.commit, error until cleared, fresh",
    "attempts.finish.commit, error once, fresh",
    "attempts.launch, killed, fresh",
    "collect.rename, killed, fresh",
    "resident.claimed, killed, handed",
    "supervisor.record, killed, fresh",
    "spawn.supervisor, error once, fresh",
    "daemon killed, job RUNNING",
    "everything killed, job RUNNING",
    "record.json empty",
    "claim gone",
    "cancel 120 ms after a submission",
    "never reading",
    "of one state directory",
    "a job that always crashes",
)


def every_case() -> list[Case]:
    parts = (points, processes, damage, surroundings, strangers, storecases, real)
    return [case for part in parts for case in part.cases()]


def chosen(arguments: argparse.Namespace) -> list[Case]:
    cases = every_case()
    if arguments.only:
        pattern = arguments.only if "*" in arguments.only else f"*{arguments.only}*"
        cases = [case for case in cases if fnmatch(case.title, pattern)]
    elif not (arguments.all or arguments.list):
        cases = [case for case in cases if case.name in SMOKE]
    if arguments.skip:
        cases = [case for case in cases if not fnmatch(case.title, f"*{arguments.skip}*")]
    if arguments.small:
        cases = [case for case in cases if case.is_small]
    return cases


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/faults", description=__doc__)
    parser.add_argument("--all", action="store_true", help="every case (about an hour on two cores)")
    parser.add_argument(
        "--only",
        metavar="PATTERN",
        help="cases whose `group: name`, or cuts whose kind, has this in it (* and ? match)",
    )
    parser.add_argument(
        "--skip", metavar="PATTERN", help="leave out cases whose `group: name` has this in it"
    )
    parser.add_argument(
        "--small", action="store_true", help="leave out the cases that need Ray and TensorFlow"
    )
    parser.add_argument("--list", action="store_true", help="say which cases there are, and do nothing")
    parser.add_argument("--prove", action="store_true", help="plant ten bugs, and say whether they are found")
    parser.add_argument("--chaos", metavar="MINUTES", type=float, help="random kills over a stream of jobs")
    parser.add_argument(
        "--handover", metavar="N", type=int, help="N random kills around hand-overs of trainers"
    )
    parser.add_argument("--jobs", type=int, default=200, help="of --chaos (default 200)")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the order of cases, of random kills and of cuts (default 0)"
    )
    parser.add_argument(
        "--boxes", metavar="N", type=int, help="N random cuts over a stream of jobs on three boxes (as root)"
    )
    parser.add_argument(
        "--moments",
        metavar="PATTERN",
        nargs="?",
        const="",
        help="each process killed at each moment of a job on another of three boxes (as root)",
    )
    parser.add_argument(
        "--at-once",
        metavar="N",
        type=int,
        default=3,
        help="cases at once (default 3); those that wait run four times as many",
    )
    parser.add_argument(
        "--minutes", type=float, help="begin no new case, or cut, after so long; what was not run is said"
    )
    parser.add_argument("--tree", type=Path, default=ROOT, help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help="put the table into docs/faults.md")
    arguments = parser.parse_args()
    if arguments.prove:
        return planted.prove(arguments.at_once)
    if arguments.boxes:
        return cuts.run(
            arguments.boxes,
            arguments.seed,
            arguments.minutes,
            arguments.only or "",
            is_small=arguments.small,
        )
    if arguments.chaos:
        return chaos.run(arguments.chaos, arguments.jobs, arguments.seed, is_small=arguments.small)
    if arguments.handover:
        return handover.run(arguments.handover, arguments.seed, arguments.minutes)
    if arguments.moments is not None:
        return moments.run(arguments.moments, arguments.minutes)
    cases = chosen(arguments)
    if arguments.list:
        print("\n".join(case.title for case in cases))
        print(f"{len(cases)} cases")
        return 0
    random.Random(arguments.seed).shuffle(cases)
    outcomes = Runner(arguments.tree, arguments.at_once, arguments.minutes).run(cases)
    print(table(outcomes))
    if arguments.write:
        write(outcomes)
    return int(any(is_bad(outcome) for outcome in outcomes))


def is_bad(outcome: Outcome) -> bool:
    return outcome.kind not in ("", "not reached", "not run")


if __name__ == "__main__":
    sys.exit(main())
