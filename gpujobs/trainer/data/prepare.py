"""From a job's data files to samples in parts: train, validation, test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gpujobs.jobfile.consistency import implied_task, layers_of
from gpujobs.trainer.data import classes, plain, ragged, scaling, sources, splits, windowed
from gpujobs.trainer.data.plain import Plain
from gpujobs.trainer.data.preprocessing import Preprocessing
from gpujobs.trainer.data.ragged import Ragged
from gpujobs.trainer.data.raw import Arrays
from gpujobs.trainer.data.rows import Mapped, RaggedRows, Rows
from gpujobs.trainer.data.samples import Samples
from gpujobs.trainer.data.windowed import Windowed
from gpujobs.trainer.failures import DataError
from gpujobs.trainer.spec import Spec

Assembled = Plain | Windowed | Ragged


@dataclass(frozen=True, slots=True)
class Part:
    """`samples`: scaled, with encoded classes. `truth`: the same in original units."""

    samples: Samples
    truth: Samples
    assembled: Assembled

    @property
    def file(self) -> str:
        return self.assembled.raw.file


@dataclass(frozen=True, slots=True)
class Prepared:
    """`parts`: by name: train, and validation and test where there are some."""

    parts: dict[str, Part]
    preprocessing: Preprocessing

    @property
    def train(self) -> Part:
        return self.parts["train"]


def prepare(spec: Spec) -> Prepared:
    """Raises DataError, naming file and array or column."""
    data, task = spec.jobfile["data"], task_of(spec)
    assembled = {"train": read_assembled(spec, data["train"], task, needs_y=True)}
    for part in ("validation", "test"):
        if data.get(part):
            assembled[part] = read_assembled(spec, data[part], task, needs_y=True)
    raw = assembled["train"].raw
    found = {
        name: classes.find(y, data.get("classes")) for name, y in raw.targets.items() if _is_class(task, y)
    }
    assembled |= _split(spec, assembled, found)
    preprocessing = Preprocessing(
        task=task,
        x={
            name: _fitted(data, "x", assembled["train"].x_pieces(name))
            for name in _scaled_inputs(spec, assembled)
        },
        y=_fitted_targets(spec, assembled["train"], task),
        classes={name: one for name, one in found.items() if one is not None},
        features=raw.features,
        target_names=raw.target_names,
    )
    parts = {part: apply(spec, one, preprocessing) for part, one in assembled.items()}
    if task in ("classification", "labelling"):
        _require_several(parts["train"])
    return Prepared(parts, preprocessing)


def _require_several(train: Part) -> None:
    for name, rows in train.truth.targets.items():
        y = rows.values if isinstance(rows, RaggedRows) else train.truth.target(name)
        classes.require_several(f"{train.file}: {name}", y)


def task_of(spec: Spec) -> str:
    """As the job file says; several outputs have no task of their own."""
    job = spec.jobfile
    return str(job.get("task") or implied_task(job) or "several")


def read_assembled(spec: Spec, source: Mapping[str, Any], task: str, *, needs_y: bool) -> Assembled:
    return _assemble(spec, sources.read(spec, source, task, needs_y=needs_y), task)


def _assemble(spec: Spec, raw: Arrays, task: str) -> Assembled:
    data = spec.jobfile["data"]
    handling = data.get("missing", "error")
    tokens = tokens_of(spec.jobfile)
    if data.get("window"):
        return windowed.assemble(raw, data["window"], task, handling)
    if raw.lengths is not None:
        each = (data.get("sequence") or {}).get("label") == "each"
        return ragged.assemble(raw, task, handling, tokens, padding_of(spec.jobfile), label_each=each)
    return plain.assemble(raw, handling, tokens)


def tokens_of(job: Mapping[str, Any]) -> frozenset[str]:
    """The inputs that are ids for an Embedding."""
    model = job["model"]
    if not model.get("branches"):
        return frozenset(
            {next(iter(sources.names_of(job["data"].get("x", "x"))))} if _embeds(model["layers"]) else ()
        )
    return frozenset(
        name
        for branch in model["branches"].values()
        if _embeds(branch["layers"])
        for name in branch["inputs"]
    )


def _embeds(layers: list[Any]) -> bool:
    return bool(layers) and next(iter(layers[0])) == "Embedding"


def padding_of(job: Mapping[str, Any]) -> float:
    """What Masking skips; an Embedding skips 0."""
    for _, kind, arguments in layers_of(job):
        if kind == "Masking":
            return float(arguments.get("mask_value", 0.0))
    return 0.0


def _is_class(task: str, y: Any) -> bool:
    return task in ("classification", "multilabel", "labelling") or classes.is_text(y)


# Parts


def _split(spec: Spec, assembled: Mapping[str, Assembled], found: Mapping[str, Any]) -> dict[str, Assembled]:
    train, settings = assembled["train"], spec.jobfile["data"].get("split")
    share = float(spec.jobfile["training"].get("validation_split") or 0.0)
    if settings is None and not share:
        return {}
    if settings is None:  # Keras's: the last ones
        count = int(len(train.samples) * (1 - share))
        parts: dict[str, Any] = dict(zip(("train", "validation"), train.first(count), strict=True))
        settings = {"validation": share, "test": 0.0}
    else:
        parts = dict(train.split(settings, _labels(train, settings["method"], found)))
    sizes = {name: len(parts[name].samples) if name in parts else 0 for name in splits.PARTS}
    splits.require_some(sizes, settings)
    return {name: part for name, part in parts.items() if name == "train" or settings[name] > 0}


def _labels(train: Assembled, method: str, found: Mapping[str, Any]) -> Any:
    if method != "stratified" or not found:
        return None
    name = next(iter(found))
    y = train.samples.target(name)
    return y.argmax(axis=-1) if classes.is_one_hot(y) else y.astype(str) if classes.is_text(y) else y


# Scaling and classes


def _scaled_inputs(spec: Spec, assembled: Mapping[str, Assembled]) -> list[str]:
    if (spec.jobfile["data"].get("scaling") or {}).get("x", "none") == "none":
        return []
    return [name for name in assembled["train"].raw.inputs if name not in tokens_of(spec.jobfile)]


def _fitted(data: Mapping[str, Any], which: str, pieces: Any) -> scaling.Scale:
    return scaling.fit(data["scaling"][which], pieces)


def _fitted_targets(spec: Spec, train: Assembled, task: str) -> dict[str, scaling.Scale]:
    """Numbers are scaled; classes are not."""
    data = spec.jobfile["data"]
    if (data.get("scaling") or {}).get("y", "none") == "none" or task in (
        "classification",
        "multilabel",
        "labelling",
    ):
        return {}
    numeric = [name for name in train.samples.targets if train.raw.y_columns is not None or
               train.raw.targets[name].dtype.kind == "f"]  # fmt: skip
    return {name: _fitted(data, "y", train.y_pieces(name)) for name in numeric}


def apply(spec: Spec, assembled: Assembled, preprocessing: Preprocessing) -> Part:
    """The samples with what was learned from the training part applied to them."""
    samples, file = assembled.samples, assembled.raw.file
    targets = {
        name: _numbered(rows, preprocessing.classes.get(name), f"{file}: {name}")
        for name, rows in samples.targets.items()
    }
    truth = replace(samples, targets=targets)
    done = replace(
        truth,
        inputs={name: _scaled(rows, preprocessing.x.get(name)) for name, rows in samples.inputs.items()},
        targets={name: _scaled(rows, preprocessing.y.get(name)) for name, rows in targets.items()},
    )
    _check_ids(spec, file, assembled)
    _check_padding(spec, file, done)
    return Part(done, truth, assembled)


def inline(spec: Spec, values: Any, preprocessing: Preprocessing) -> Part:
    """Samples given as an array, shape (samples, ...), of the model's only input."""
    ((name, _),) = sources.names_of(spec.jobfile["data"].get("x", "x")).items()
    raw = Arrays("values", {name: values}, {})
    return apply(spec, plain.assemble(raw, "error", tokens_of(spec.jobfile)), preprocessing)


def _numbered(rows: Rows, known: classes.Classes | None, place: str) -> Rows:
    return rows if known is None else encoded(rows, lambda values: known.encode(place, values))


def _scaled(rows: Rows, scale: scaling.Scale | None) -> Rows:
    if scale is None:
        return rows
    if isinstance(rows, RaggedRows):  # before padding: what stands on the right is not scaled
        return replace(rows, change=scale.apply)
    return Mapped(rows, scale.apply)


def encoded(rows: Rows, change: Any) -> Rows:
    """The rows with every value of what they read from changed at once."""
    if isinstance(rows, Mapped):
        return replace(rows, rows=encoded(rows.rows, change))
    name = "series" if hasattr(rows, "series") else "values"
    changed = change(np.asarray(getattr(rows, name)))
    fields = {name: changed} | ({"dtype": changed.dtype} if hasattr(rows, "dtype") else {})
    return replace(rows, **fields)  # type: ignore[type-var]


def _check_ids(spec: Spec, file: str, assembled: Assembled) -> None:
    """Raises DataError for ids that an Embedding does not have."""
    for name in tokens_of(spec.jobfile):
        values = assembled.raw.inputs[name]
        sizes = [a["input_dim"] for _, kind, a in layers_of(spec.jobfile) if kind == "Embedding"]
        low, high = int(values.min()), int(values.max())
        if (values != values.astype(np.int64)).any() or low < 0 or high >= max(sizes):
            raise DataError(
                f"{file}: array {name}: holds ids {low} to {high}; expected integers from 0 to {max(sizes) - 1}, "
                f"as Embedding has input_dim {max(sizes)}"
            )


def _check_padding(spec: Spec, file: str, samples: Samples) -> None:
    """Raises DataError where a step that is there looks like padding, and would be skipped."""
    tokens = tokens_of(spec.jobfile)
    for name, rows in samples.inputs.items():
        if not isinstance(rows, RaggedRows):
            continue
        values = rows.values if rows.change is None else rows.change(rows.values)
        same = values == rows.padding if name in tokens else (values == rows.padding).all(axis=-1)
        count = int(same.sum())
        if count:
            raise DataError(
                f"{file}: array {name}: {count} steps are {rows.padding:g} in every feature, which stands for "
                "padding, and would be skipped; "
                + ("number the ids from 1" if name in tokens else "choose another mask_value in Masking")
            )
