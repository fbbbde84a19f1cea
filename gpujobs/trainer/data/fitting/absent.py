"""Classes that a part of the data lacks: what is not trained cannot be said, and what is not there is not measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gpujobs.jobfile.consistency import task_of_output
from gpujobs.trainer.data.fitting.classes import Classes
from gpujobs.trainer.data.fitting.counted import labels
from gpujobs.trainer.data.notices import listed
from gpujobs.trainer.data.samples.splits import PARTS

SHOWN = 10


def notices(job: Mapping[str, Any], parts: Mapping[str, Any], named: Mapping[str, Classes]) -> Iterator[str]:
    """Of each target that is a class, a line for each part that lacks some; `parts`: by name, those of `Prepared`."""
    for name in parts["train"].truth.targets:
        there = [part for part in PARTS if part in parts]
        task = task_of_output(job, name)
        if task in ("classification", "labelling"):
            counts = {part: _counts(parts[part].truth, name, task) for part in there}
            yield from _of_target(job, parts, name, counts, named.get(name))
        elif task == "multilabel":
            for part in there:
                yield from _of_labels(parts[part], name, part, named.get(name))


def _of_labels(part: Any, name: str, called: str, known: Classes | None) -> Iterator[str]:
    """Of several labels at once: those that each sample of a part has, or none."""
    rows = part.truth.all_of(part.truth.targets[name])
    raw = part.assembled.raw
    counts, samples = (rows > 0).reshape(len(rows), -1).sum(axis=0), len(rows)
    names = known.names if known is not None else raw.target_names
    for which, what in ((counts == 0, "no"), (counts == samples, "every")):
        own = [str(names[one]) if len(names) == len(counts) else str(one) for one in np.flatnonzero(which)]
        if own and samples:
            means = "the model cannot learn it" if called == "train" else "no figure of that part tells of it"
            label = "label" if len(own) == 1 else "labels"
            yield (
                f"{raw.place(name)}: in the {called} part {what} sample has the {label} {listed(own, len(own))}: "
                f"{means}. Another data.split or its seed may help."
            )


def _counts(samples: Any, name: str, task: str) -> dict[int, int]:
    found, counts = np.unique(labels(samples, name, task), return_counts=True)
    return {int(label): int(count) for label, count in zip(found, counts, strict=True)}


def _of_target(
    job: Mapping[str, Any], parts: Mapping[str, Any], name: str, counts: Mapping[str, Mapping[int, int]],
    known: Classes | None,
) -> Iterator[str]:  # fmt: skip
    every = sorted(
        {label for one in counts.values() for label in one} | set(range(len(known.names) if known else 0))
    )
    for part, there in counts.items():
        lacking = [label for label in every if label not in there]
        if not lacking:
            continue
        some = ", ".join(_said(label, part, counts, known) for label in lacking[:SHOWN])
        more = f" and {len(lacking) - SHOWN} more" if len(lacking) > SHOWN else ""
        what = "class" if len(lacking) == 1 else "classes"
        means = "the model cannot learn it" if part == "train" else "no figure of that part tells of it"
        place = parts[part].assembled.raw.place(name)
        totals = [sum(one.get(label, 0) for one in counts.values()) for label in lacking]
        advice = _too_few(totals, len(counts)) or _advice(job, parts)
        yield f"{place}: the {part} part has no sample of {what} {some}{more}: {means}. {advice}"


def _said(label: int, part: str, counts: Mapping[str, Mapping[int, int]], known: Classes | None) -> str:
    """Its name, and where it is instead."""
    name = str(known.names[label]) if known is not None else str(label)
    elsewhere = [
        f"{one[label]} in {other}" for other, one in counts.items() if other != part and label in one
    ]
    return f"{name} ({', '.join(elsewhere) or 'nor has any other'})"


def _too_few(totals: Sequence[int], parts: int) -> str:
    """Where no split could put what a part lacks into every part; where there is none at all more of it is asked for
    anyway."""
    if not 0 < max(totals) < parts:
        return ""
    return f"{parts} parts need at least {parts} samples of a class: give more of them."


def _advice(job: Mapping[str, Any], parts: Mapping[str, Any]) -> str:
    """The split that helps."""
    split, share = job["data"].get("split"), job["training"].get("validation_split")
    if split is None and not share:
        return "Give data that has it, or name only the classes that are there." if len(parts) == 1 else (
            "The parts are files of their own: give the file samples of it, or use data.split of one file."
        )  # fmt: skip
    shares = (
        {"validation": share} if split is None else {key: split.get(key) for key in ("validation", "test")}
    )
    wanted = ", ".join(f"{key}: {value:g}" for key, value in shares.items() if value)
    y = next(iter(parts["train"].truth.targets.values()))
    is_per_sample = y.row_shape in ((), (1,)) or (len(y.row_shape) == 1 and not job["data"].get("lengths"))
    is_stratified = split is not None and split["method"] == "stratified"
    if is_stratified or not is_per_sample or (split is not None and split["method"] == "group"):
        return f"Another data.split.seed may help, or larger shares than {wanted}."
    return f"data.split: {{method: stratified, {wanted}}} keeps the share of each class in every part."
