"""`scripts/mutants`: plants a seeded sample of faults and prints which of them the tests notice."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import random
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from typing import Any

import click

from mutation.copies import Copy
from mutation.judging import Sound, Verdict, judge
from mutation.operators import Mutant, mutants
from mutation.parts import PARTS, modules, part_of
from mutation.ran import Known, Recorder

ROOT = Path(__file__).parents[2]
NOTES = Path("build/mutants/noticed.jsonl")

Record = dict[str, Any]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--sample", default=40, show_default=True, help="How many faults; 0: all.")
@click.option("--seed", default=7, show_default=True, help="Which ones.")
@click.option("--jobs", default=1, show_default=True, help="How many at once; each wants a core or two.")
@click.option(
    "--only",
    metavar="GLOB",
    help=f"Modules, such as '*/store.py', or one of: {', '.join(p.name for p in PARTS)}.",
)
@click.option(
    "--limit",
    default=600.0,
    show_default=True,
    help="Seconds for the tests of a fault; what takes longer is not judged.",
)
@click.option("--through", default="", metavar="COMMAND", help="Runs the tests, such as 'nice -n 19'.")
@click.option(
    "--rest", is_flag=True, help="Also run what does not come to a fault, where nothing else notices."
)
@click.option("--list", "is_listing", is_flag=True, help="Print the sample, plant nothing.")
@click.option("--again", is_flag=True, help="Plant anew what an earlier run found not noticed.")
@click.option(
    "--output",
    default=NOTES,
    show_default=True,
    type=click.Path(path_type=Path),
    help="JSON lines; what they hold already is not run again.",
)
def main(
    sample: int,
    seed: int,
    jobs: int,
    only: str | None,
    limit: float,
    through: str,
    rest: bool,
    is_listing: bool,
    again: bool,
    output: Path,
) -> None:
    """Plants small faults, one at a time, in a copy of the tree, and says which of them a test notices.

    A run that was broken off goes on where it was, with the same command.
    """
    chosen = _sample(sample, seed, only)
    if is_listing:
        for one in chosen:
            print(f"{one.module}:{one.line}: {one.operator}: {one.shown}")
        return
    judged = _read(output, again)
    records = [judged[_key(one)] for one in chosen if _key(one) in judged]
    left = [one for one in chosen if _key(one) not in judged]
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("a") as file:
        for record in _run(left, jobs, limit, through.split(), rest=rest):
            print(_line(record), flush=True)
            if record["is_finished"]:
                records.append(record)
                file.write(json.dumps(record) + "\n")
                file.flush()
    _summary(records, seed)


def _sample(size: int, seed: int, only: str | None) -> list[Mutant]:
    """As many of each part, as far as they have so many, in a random order: the same whichever parts are looked at."""
    by_part: dict[str, list[Mutant]] = {}
    for module in modules(ROOT, only):
        found = mutants(module, (ROOT / module).read_bytes())
        by_part.setdefault(part_of(module).name, []).extend(found)
    for name, found in by_part.items():
        random.Random(f"{seed} {name}").shuffle(found)
    turns = [one for turn in zip_longest(*by_part.values()) for one in turn if one is not None]
    if not turns:
        raise click.UsageError(
            f"no module is {only}; expected a pattern such as '*/store.py', or a part's name"
        )
    return turns[:size] if size else turns


class Recording:
    """Records files of tests when they are asked for, in a copy that is made then."""

    def __init__(self, through: Sequence[str]) -> None:
        self._through = through
        self._recorder: Recorder | None = None

    def __call__(self, file: str) -> None:
        if self._recorder is None:
            self._recorder = Recorder(ROOT, self._through)
        print(f"recorded: {file}: {self._recorder.record(file)}", flush=True)

    def end(self) -> None:
        if self._recorder is not None:
            self._recorder.copy.end()


def _run(
    chosen: Sequence[Mutant], jobs: int, limit: float, through: Sequence[str], *, rest: bool
) -> Iterator[Record]:
    if not chosen:
        return
    copies = [Copy(ROOT, str(number), through) for number in range(jobs + 1)]
    sound, recording = Sound(copies[0]), Recording(through)
    known = Known(ROOT, recording)
    free: queue.SimpleQueue[Copy] = queue.SimpleQueue()
    for copy in copies[1:]:
        free.put(copy)

    def judged(one: Mutant) -> Record:
        copy = free.get()
        begun = time.monotonic()
        try:
            verdict = judge(copy, sound, known, one, limit, rest=rest)
            return _record(one, verdict, time.monotonic() - begun)
        finally:
            free.put(copy)

    with _ending([*copies, recording]), ThreadPoolExecutor(jobs) as pool:
        for done in as_completed([pool.submit(judged, one) for one in chosen]):
            yield done.result()


@contextlib.contextmanager
def _ending(copies: Sequence[Copy | Recording]) -> Iterator[None]:
    """Whoever breaks the run off leaves no tests behind."""

    def end(number: int, _: object) -> None:
        for copy in copies:
            copy.end()
        os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    try:
        yield
    finally:
        for copy in copies:
            copy.end()


def _record(one: Mutant, verdict: Verdict, seconds: float) -> Record:
    return {
        "key": _key(one),
        "part": part_of(one.module).name,
        "file": one.module,
        "line": one.line,
        "operator": one.operator,
        "change": one.shown,
        "noticed_by": verdict.noticed_by,
        "coming": verdict.coming,
        "is_finished": verdict.is_finished,
        "seconds": round(seconds, 1),
    }


def _key(one: Mutant) -> str:
    """With the file's text: of another text nothing is known."""
    return f"{sha256((ROOT / one.module).read_bytes()).hexdigest()[:12]}:{one.key}"


def _read(output: Path, again: bool) -> dict[str, Record]:
    lines = output.read_text().splitlines() if output.exists() else []
    records = {record["key"]: record for record in map(json.loads, lines)}
    return {key: one for key, one in records.items() if one["noticed_by"] is not None or not again}


def _line(record: Record) -> str:
    test = record["noticed_by"]
    verdict = "NOT NOTICED" if record["is_finished"] else "TIME IS UP, not noticed"
    coming = f"{verdict} by any of {record['coming']} tests that come there"
    verdict = coming if test is None else f"noticed by {test}, {record['seconds']:.0f} s"
    return f"{record['file']}:{record['line']}: {record['operator']}: {record['change']}: {verdict}"


def _summary(records: Sequence[Record], seed: int) -> None:
    missed = [record for record in records if record["noticed_by"] is None]
    print(f"\nseed {seed}: {len(records) - len(missed)} of {len(records)} noticed", end="")
    print(f", {1 - len(missed) / len(records):.0%}" if records else "")
    for record in missed:
        print(f"  {_line(record)}")


if __name__ == "__main__":
    main()
