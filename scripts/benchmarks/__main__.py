"""The command line of `scripts/bench`."""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import contenders
from benchmarks.support import machine, measurements, peers
from benchmarks.support.options import Options, quick
from benchmarks.support.rows import Row, table

Results = dict[str, list[Row]]


def parser() -> argparse.ArgumentParser:
    default = Options()
    made = argparse.ArgumentParser("scripts/bench", description="Measures gpujobs beside its like.")
    add = made.add_argument
    add("measurements", nargs="*", metavar="MEASUREMENT", help="one of --list; all if none is given")
    add("--list", action="store_true", help="list the measurements")
    add("--install-peers", action="store_true", help="install the other job queues, with apt and pip")
    add("--repeat", type=int, default=default.repeat, metavar="N", help="rounds (%(default)s)")
    add("--jobs", type=int, default=default.jobs, metavar="N", help="jobs of a batch (%(default)s)")
    add("--slots", type=int, default=default.slots, metavar="N", help="CPU slots (%(default)s)")
    add("--members", type=int, action="append", default=[], metavar="N", help="of a sweep; repeat for more")
    choices = [one.NAME for one in contenders.ALL]
    add("--contender", action="append", default=[], choices=choices, help="only this one; repeat for more")
    add(
        "--before",
        type=Path,
        metavar="DIRECTORY",
        help="another checkout (with .venv) to measure beside this one",
    )
    add("--quick", action="store_true", help="as little as shows that it works")
    add("--json", action="store_true", help="print JSON, with every value")
    add("--output", type=Path, metavar="FILE", help="write there instead of printing")
    add("--plots", type=Path, metavar="DIRECTORY", help="draw what is more than a table, as PNGs in there")
    return made


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def options_of(given: argparse.Namespace) -> Options:
    options = Options(
        repeat=given.repeat,
        jobs=given.jobs,
        slots=given.slots,
        contenders=tuple(given.contender),
        members=tuple(given.members) or Options().members,
        plots=given.plots,
        before=given.before and given.before.resolve(),
        say=lambda text: say(f"  {text}"),
    )
    return quick(options) if given.quick else options


def as_text(facts: dict[str, Any], results: Results) -> str:
    parts = [", ".join(f"{name} {value}" for name, value in facts.items())]
    for name, result in results.items():
        parts.append(f"### {name}\n{measurements.description(name)}\n\n{table(result)}")
    return "\n\n".join(parts)


def as_json(facts: dict[str, Any], results: Results) -> str:
    plain = {name: [row.to_json() for row in result] for name, result in results.items()}
    return json.dumps({"machine": facts, "results": plain}, indent=2)


def main(arguments: Sequence[str] | None = None) -> None:
    made = parser()
    given = made.parse_args(arguments)
    known = measurements.names()
    unknown = sorted(set(given.measurements) - set(known))
    if unknown:
        made.error(f"no measurement is named {', '.join(unknown)}; --list lists them")
    if given.list:
        print("\n".join(f"{name:<16}{measurements.description(name)}" for name in known))
        return
    if given.install_peers:
        peers.install()
    if given.plots:
        given.plots.mkdir(parents=True, exist_ok=True)
    results = measured(given.measurements or known, options_of(given))
    text = (as_json if given.json else as_text)(machine.describe(), results)
    if given.output:
        given.output.write_text(text + "\n")
    else:
        print(text)
    if len(results) < len(given.measurements or known):
        sys.exit(1)


def measured(names: Sequence[str], options: Options) -> Results:
    """One that fails is left out: the hours of the others are not lost."""
    results: Results = {}
    for name in names:
        say(f"{name}: {measurements.description(name)}")
        try:
            results[name] = measurements.run(name, options)
        except Exception:  # noqa: BLE001 - whatever it is, it is shown
            say(f"  {name} failed, and has no figures:\n{traceback.format_exc()}")
    return results


if __name__ == "__main__":
    main()
