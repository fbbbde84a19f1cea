"""The report of `gpujobs check` for people."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from gpujobs.cli import output

SEE = "docs/check.md says what each part means, and what a fused kernel is worth."
SHOWN_CLASSES = 20
PARTS = {"step_gradients": "step gradients"}


def lines(entries: Sequence[Mapping[str, Any]], left_out: int) -> Iterator[str]:
    """Of each file; of a sweep the first job, and what differs in the others."""
    for path, found in groupby(entries, key=lambda entry: entry["path"]):
        members = list(found)
        count = f", {_n(len(members), 'job')}" if members[0].get("sweep") else ""
        yield f"{path}: valid{count}"
        if members[0].get("sweep"):
            yield f"  the first, {output.printable(members[0]['name'])}:"
        yield from report(members[0]["report"])
        if told := members[0].get("told"):
            yield output.indented(f"told: {told}")
        if len(members) > 1:
            yield from _sweep(members)
    if left_out:
        yield f"{_n(left_out, 'more job was', 'more jobs were')} not looked at."
    yield SEE


def report(one: Mapping[str, Any]) -> Iterator[str]:
    yield from _layers(one)
    yield from _memory(one)
    yield from _fused(one["cudnn"])
    yield from _data(one["data"])
    yield from _steps(one)
    for notice in one["notices"]:
        yield output.indented(notice)


def _table(head: Sequence[str], rows: Sequence[Sequence[object]], flexible: int) -> Iterator[str]:
    for line in output.table(head, rows, flexible=flexible, indent=2):
        yield f"  {line}"


def _shape(shape: Iterable[int | None]) -> str:
    sizes = ["any" if size is None else str(size) for size in shape]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def _layers(one: Mapping[str, Any]) -> Iterator[str]:
    rows = [
        (
            row["name"],
            row["class"],
            _shape(row["output_shape"][1:]),
            row["formula"] or f"{row['parameters']:,}",
        )
        for row in one["layers"]
    ]
    yield "layers"
    yield from _table(("NAME", "LAYER", "OUTPUT", "PARAMETERS"), rows, 3)
    fixed = one["parameters"] - one["trainable_parameters"]
    yield f"  {_n(one['parameters'], 'parameter')}{f', {fixed:,} of them not trained' if fixed else ''}"


def _memory(one: Mapping[str, Any]) -> Iterator[str]:
    yield f"memory of the training: about {output.size(one['memory_estimate_bytes'])}, beside what CUDA itself takes"
    rows = [
        (PARTS.get(row["part"], row["part"]), output.size(row["bytes"]), row["of"]) for row in one["memory"]
    ]
    yield from _table(("PART", "SIZE", "WHAT"), rows, 2)


def _fused(verdicts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not verdicts:
        return
    yield "cuDNN's fused kernel, on a GPU"
    rows = [(row["layer"], row["class"], "yes" if row["eligible"] else "no", row["why"]) for row in verdicts]
    yield from _table(
        ("NAME", "LAYER", "USED", "WHY" if any(row["why"] for row in verdicts) else ""), rows, 3
    )
    cost = next((row["cost"] for row in verdicts if row["cost"]), None)
    if cost:
        yield output.indented(f"Where it is not used, {cost}.")


def _data(data: Mapping[str, Any]) -> Iterator[str]:
    yield f"data {output.printable(data['file'])}, {output.printable(data['task'])}"
    rows = [
        (row["array"], _shape(row["shape"]), row["dtype"], row["nan"], row["infinite"], row["looked_at"])
        for row in data["arrays"]
    ]
    yield from _table(("ARRAY", "SHAPE", "TYPE", "NAN", "INFINITE", "LOOKED AT"), rows, 0)
    for line in _details(data):
        yield output.indented(line)
    if data["classes"]:
        what = "labels" if data["task"] == "multilabel" else "classes"
        yield output.indented(f"{what} of the training part: {_classes(data['classes'])}")


def _details(data: Mapping[str, Any]) -> Iterator[str]:
    if data.get("features"):
        yield f"features: {', '.join(data['features'])}; target: {', '.join(data['target'])}"
    if "window" in data:
        window = data["window"]
        yield (f"{data['series']:,} series{_apart(data)}, {_gaps(data)}; {_window(window)}")
    if "lengths" in data:
        lengths = data["lengths"]
        yield (
            f"{_n(data['sequences'], 'sequence')} of {lengths['least']} to {lengths['most']} steps "
            f"(median {lengths['median']:g})"
        )


def _gaps(data: Mapping[str, Any]) -> str:
    """Absent rows may lie where no window would have come anyway: then no gap parts anything."""
    gaps, absent = data["gaps"], data.get("absent_rows", 0)
    rows = f" ({_n(absent, 'row is', 'rows are')} absent)" if absent else ""
    return f"{_n(gaps, 'gap') if gaps else 'no gap'}{rows}"


def _n(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _apart(data: Mapping[str, Any]) -> str:
    steps = data.get("steps")
    return f", rows {' or '.join(steps)} apart" if steps and steps != ["no step"] else ""


def _window(window: Mapping[str, Any]) -> str:
    every, gap = window.get("sampling_rate", 1), window.get("gap", 0)
    return (
        f"windows of {_n(window['length'], 'row')}{f', every {every}th row' if every > 1 else ''}, "
        f"{window['horizon']} ahead{f' after a gap of {gap}' if gap else ''}, {window['stride']} apart"
    )


def _classes(found: Sequence[Mapping[str, Any]]) -> str:
    outputs = {row["output"] for row in found}
    shown = ", ".join(
        f"{row['output'] + ' ' if len(outputs) > 1 else ''}{row['class']} ({row['samples']:,})"
        for row in found[:SHOWN_CLASSES]
    )
    more = len(found) - SHOWN_CLASSES
    return f"{shown} and {more:,} more" if more > 0 else shown


def _steps(one: Mapping[str, Any]) -> Iterator[str]:
    data = one["data"]
    shapes = ", ".join(f"{name} {_shape(shape)}" for name, shape in data["sample_shapes"].items())
    parts = ", ".join(f"{count:,} {name}" for name, count in data["samples"].items())
    yield f"samples: {parts}; each {shapes}"
    yield (
        f"steps: {one['steps_per_epoch']:,} an epoch, batches of {one['batch_size']}; "
        f"{_n(one['epochs'], 'epoch')}"
    )


def _sweep(members: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "the jobs of the sweep"
    rows = []
    for member in members:
        one = member["report"]
        rows.append(
            (
                member["name"],
                f"{one['parameters']:,}",
                output.size(one["memory_estimate_bytes"]),
                f"{one['steps_per_epoch']:,}",
                ", ".join(f"{_last(key)}={_written(value)}" for key, value in member["sweep"].items()),
            )
        )
    yield from _table(("JOB", "PARAMETERS", "MEMORY", "STEPS", "SETS"), rows, 4)


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def _written(value: object) -> str:
    """As a job file would have it: {Name: {argument: value}}."""
    if isinstance(value, Mapping):
        inner = ", ".join(f"{key}: {_written(one)}" for key, one in value.items())
        return f"{{{inner}}}"
    return textwrap.shorten(str(value), 60, placeholder="…")
