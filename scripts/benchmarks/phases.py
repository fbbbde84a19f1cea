"""Where the time of a first job goes, and of the next one of its shape on the same slot.

Tutorial jobs that differ in their seeds, one after the other on one slot. Marks (`support/marks`) are made where the
daemon, the supervisor and the trainer pass anyway, in whichever process; the phases are the times between them: of the
processor from `data` to `pictures`, which one process does alone, else of the clock. The picture has the least of all
rounds and members, which leaves out most of what else the machine did.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bulk import source
from benchmarks.support.daemon import Daemon
from benchmarks.support.machine import ROOT
from benchmarks.support.options import Options
from benchmarks.support.rows import Row

MARKS = Path(__file__).with_name("support") / "marks" / "sitecustomize.py"
MEMBERS = 6

NEXT = "next start"
PHASES = (
    ("start", "attempts.launch", "run.begin", "the agent, the launcher or a resident, the fork, its user"),
    ("data", "prepare.begin", "prepare.end", ""),
    ("build", "prepare.end", "TrainingLoop.run.begin", "the model, or what is kept is set anew"),
    ("trace", "TrainingLoop.run.begin", "first epoch.end", "and the first epoch"),
    ("epochs", "first epoch.end", "TrainingLoop.run.end", "the others"),
    ("predict", "predict_all.begin", "predict_all.end", "and its files"),
    ("evaluate", "evaluate.begin", "evaluate.end", ""),
    ("save", "Model.save.begin", "Model.save.end", "the model"),
    ("figures", "write.begin", "write.end", "metrics.json, history.csv"),
    ("pictures", "draw.begin", "draw.end", ""),
    ("exit record", "run.end", "attempts.exited.commit", "the process ends, or stays; its record"),
    (NEXT, "attempts.exited.commit", "next attempts.launch", "commit, decision"),
    ("collect", "collect.begin", "collect.rename", "beside the next job"),
    ("commit", "collect.rename", "committed", "beside the next job"),
)
"""Name, the marks at which it begins and ends, and what it is."""
BESIDE = ("collect", "commit")
"""Of the phases, those that keep no job waiting."""
ENDS = {"attempts.finish.commit": "committed"}


@dataclass(frozen=True, slots=True)
class Mark:
    at: float
    processor: float
    pid: int
    name: str


def measure(options: Options) -> list[Row]:
    rounds = [of_one_daemon(min(MEMBERS, options.jobs + 1)) for _ in range(options.repeat)]
    first = [one[0] for one in rounds]
    later = [one for members in rounds for one in members[1:]]
    if options.plots is not None:
        draw([("first member", least(first)), ("next member", least(later))], options.plots / "phases.png")
    return [row for name, members in (("first", first), ("next", later)) for row in rows(name, members)]


def rows(which: str, members: Sequence[Mapping[str, float]]) -> Iterator[Row]:
    for phase, _, _, what in PHASES:
        values = tuple(one[phase] for one in members if phase in one)
        if values:
            yield Row(f"{which} member: {phase}" + (f" ({what})" if what else ""), "s", values)
    yield Row(f"{which} member: from start to start", "s", tuple(one["all"] for one in members))


def least(members: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {
        phase: min(one[phase] for one in members if phase in one)
        for phase, *_ in PHASES
        if any(phase in one for one in members)
    }


def of_one_daemon(members: int) -> list[dict[str, float]]:
    """The seconds of each phase of each job, of all but the last: it has no next one."""
    with tempfile.TemporaryDirectory(prefix="gj-") as directory:
        root = Path(directory)
        shutil.copy(MARKS, root)
        daemon = Daemon(1, {"PYTHONPATH": f"{root}:{ROOT}"})
        daemon.start()
        try:
            daemon.run("wait", *daemon.submit(sweep(root, members + 1)))
        finally:
            daemon.stop()
        return phases(list(marks((root / "marks").read_text())))


def sweep(directory: Path, members: int) -> Path:
    path = directory / "members.yaml"
    path.write_text(f"{source('members')}\nsweep:\n  grid: {{training.seed: {list(range(members))}}}\n")
    return path


def marks(text: str) -> Iterator[Mark]:
    for line in text.splitlines():
        at, processor, pid, name = line.split(" ", 3)
        yield Mark(float(at), float(processor), int(pid), ENDS.get(name, name))


def phases(found: Sequence[Mark]) -> list[dict[str, float]]:
    """By job; one slot: the n-th time that a mark is reached, it is the n-th job's."""
    by_name: dict[str, list[Mark]] = {}
    for one in sorted(found, key=lambda mark: mark.at):
        by_name.setdefault(one.name, []).append(one)
    epochs = by_name.get("TrainingLoop.epoch.end", [])
    by_name["first epoch.end"] = [
        next(one for one in epochs if one.at > begin.at) for begin in by_name["TrainingLoop.run.begin"]
    ]
    starts = by_name["attempts.launch"]
    by_name["next attempts.launch"] = starts[1:]
    return [
        {**dict(of_job({name: one[number] for name, one in by_name.items() if number < len(one)})),
         "all": starts[number + 1].at - starts[number].at}
        for number in range(len(starts) - 1)
    ]  # fmt: skip


def of_job(own: Mapping[str, Mark]) -> Iterator[tuple[str, float]]:
    """Of what one process does alone, the time of its processor."""
    for phase, begin, end, _ in PHASES:
        if begin in own and end in own:
            first, last = own[begin], own[end]
            in_one = first.pid == last.pid and phase not in BESIDE and phase != NEXT
            yield phase, last.processor - first.processor if in_one else last.at - first.at


def draw(members: Sequence[tuple[str, Mapping[str, float]]], path: Path) -> None:
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots()
    colours = colormaps["tab20"].colors  # type: ignore[attr-defined]
    left = [0.0] * len(members)
    for number, (phase, *_) in enumerate(PHASES):
        if phase in BESIDE:
            continue
        wide = [known.get(phase, 0.0) for _, known in members]
        axes.barh(range(len(members)), wide, left=left, label=phase, color=colours[number % 20])
        left = [before + more for before, more in zip(left, wide, strict=True)]
    axes.set_yticks(range(len(members)), [name for name, _ in members])
    axes.invert_yaxis()
    axes.set_xlabel("seconds (of the processor from data to pictures, else of the clock)")
    figure.legend(loc="outside lower center", ncols=6, fontsize="small", frameon=False)
    figure.savefig(path, dpi=110)
