"""From a job's data files to samples in parts: train, validation, test."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gpujobs.jobfile.consistency import implied_task, task_of_output
from gpujobs.trainer.data import accounts, classes, plain, ragged, scaling, sources, splits, windowed
from gpujobs.trainer.data.checks import check_inputs, check_shapes
from gpujobs.trainer.data.heads import heads, names_of
from gpujobs.trainer.data.notices import Account, say
from gpujobs.trainer.data.plain import Plain
from gpujobs.trainer.data.preprocessing import Preprocessing
from gpujobs.trainer.data.ragged import Ragged
from gpujobs.trainer.data.raw import CLASS_TASKS, Arrays, Known
from gpujobs.trainer.data.rows import Mapped, RaggedRows, Rows
from gpujobs.trainer.data.samples import Samples
from gpujobs.trainer.data.windowed import Windowed
from gpujobs.trainer.failures import DataError
from gpujobs.trainer.spec import Spec

Assembled = Plain | Windowed | Ragged
Named = Mapping[str, classes.Classes]
"""The classes of each output whose labels are not numbers already."""


@dataclass(frozen=True, slots=True)
class Part:
    """`samples`: scaled. `truth`: the same in original units."""

    samples: Samples
    truth: Samples
    assembled: Assembled

    @property
    def file(self) -> str:
        return self.assembled.raw.file


@dataclass(frozen=True, slots=True)
class Prepared:
    """`parts`: by name: train, and validation and test where there are some. `accounts`: of each file of these."""

    parts: dict[str, Part]
    preprocessing: Preprocessing
    accounts: tuple[Account, ...] = ()

    @property
    def train(self) -> Part:
        return self.parts["train"]


def prepare(spec: Spec, raw: Arrays | None = None) -> Prepared:
    """`raw`: the training file's, where it has been read. Raises DataError, naming file and array or column."""
    data, task = spec.jobfile["data"], task_of(spec)
    raw = read_training(spec) if raw is None else raw
    named = _named(spec, raw)
    assembled = {"train": _assemble(spec, raw, task, named)}
    for part in ("validation", "test"):
        if data.get(part):
            usual = _step(assembled["train"])
            assembled[part] = _read(spec, data[part], task, named, raw.features, needs_y=True, usual=usual)
    accounts_of = {part: one.account for part, one in assembled.items()}
    parts_of_train = _split(spec, assembled)
    if parts_of_train:
        accounts_of["train"] = accounts.between_parts(
            accounts_of["train"], assembled["train"], parts_of_train
        )
    _say(accounts_of.values())
    assembled |= parts_of_train
    train = assembled["train"]
    learned = Preprocessing(
        task=task,
        x=_fitted_inputs(spec, train),
        y=_fitted_targets(spec, train),
        classes=named,
        features=raw.features,
        target_names=raw.target_names,
        shapes={name: rows.row_shape for name, rows in train.samples.inputs.items()},
        step=_step(train),
    )
    parts = {part: apply(spec, one, learned) for part, one in assembled.items()}
    _require_several(spec, parts["train"])
    return Prepared(parts, learned, tuple(accounts_of.values()))


def _say(found: Iterable[Account]) -> None:
    """What is left out, and of series always how many windows they make."""
    for one in found:
        if one.is_worth_saying:
            say(one.lines())


def _step(assembled: Assembled) -> str | None:
    """What the rows of most series are apart."""
    line = assembled.timeline if isinstance(assembled, Windowed) else None
    return line.steps[0].name if line is not None and line.steps[0] is not None else None


def read_training(spec: Spec) -> Arrays:
    """Raises DataError."""
    return sources.read(spec, spec.jobfile["data"]["train"], task_of(spec), needs_y=True)


def task_of(spec: Spec) -> str:
    """As the job file says; several outputs have no task of their own."""
    job = spec.jobfile
    return str(job.get("task") or implied_task(job) or "several")


def _named(spec: Spec, raw: Arrays) -> Named:
    given = spec.jobfile["data"].get("classes")
    names = [name for name in raw.targets if task_of_output(spec.jobfile, name) in CLASS_TASKS]
    found = {name: classes.find(given, raw.words.get(name)) for name in names}
    return {name: one for name, one in found.items() if one is not None}


def read_assembled(
    spec: Spec, source: Mapping[str, Any], learned: Preprocessing, *, needs_y: bool
) -> Assembled:
    """The samples of another file than the job was trained with."""
    named, features = learned.classes, learned.features
    return _read(spec, source, learned.task, named, features, needs_y=needs_y, usual=learned.step)


def _read(
    spec: Spec,
    source: Mapping[str, Any],
    task: str,
    named: Named,
    features: tuple[str, ...],
    *,
    needs_y: bool,
    usual: str | None = None,
) -> Assembled:
    known = Known(any(one.are_text for one in named.values()), features)
    raw = sources.read(spec, source, task, needs_y=needs_y, known=known)
    return _assemble(spec, raw, task, named, is_open=not needs_y, usual=usual)


def _assemble(
    spec: Spec, raw: Arrays, task: str, named: Named, *, is_open: bool = False, usual: str | None = None
) -> Assembled:
    data, scratch = spec.jobfile["data"], spec.paths.work
    handling = data.get("missing", "error")
    if task != "multilabel":
        raw = replace(raw, targets={name: _encoded(raw, name, y, named) for name, y in raw.targets.items()})
    if data.get("window"):
        return windowed.assemble(raw, data, task, scratch, is_open=is_open, usual=usual)
    if raw.lengths is not None:
        each = (data.get("sequence") or {}).get("label") == "each"
        return ragged.assemble(raw, task, handling, heads(spec.jobfile), label_each=each)
    return plain.assemble(raw, handling, _ids(spec.jobfile), scratch)


def _encoded(raw: Arrays, name: str, y: Any, named: Named) -> Any:
    return y if name not in named else named[name].encode(raw.place(name), y, raw.words.get(name))


def _ids(job: Mapping[str, Any]) -> Iterable[str]:
    """The inputs that are ids for an embedding."""
    return [name for name, head in heads(job).items() if head.ids is not None]


# Parts


def _split(spec: Spec, assembled: Mapping[str, Assembled]) -> dict[str, Assembled]:
    train, settings = assembled["train"], spec.jobfile["data"].get("split")
    share = float(spec.jobfile["training"].get("validation_split") or 0.0)
    if settings is None and not share:
        return {}
    if settings is None:  # Keras's: the last ones
        count = int(len(train.samples) * (1 - share))
        parts: dict[str, Any] = dict(zip(("train", "validation"), train.first(count), strict=True))
        settings = {"validation": share, "test": 0.0}
    else:
        parts = dict(train.split(settings, _labels(train, settings["method"])))
    sizes = {name: len(parts[name].samples) if name in parts else 0 for name in splits.PARTS}
    splits.require_some(train.raw.file, sizes, settings)
    return {name: part for name, part in parts.items() if name == "train" or settings[name] > 0}


def _labels(train: Assembled, method: str) -> Any:
    """The class of each sample, for a stratified split."""
    if method != "stratified":
        return None
    name = next(iter(train.samples.targets))
    y = train.samples.target(name)
    y = y.argmax(axis=-1) if classes.is_one_hot(y) else y
    if y.ndim > 1:
        raise DataError(
            f"{train.raw.place(name)}: has shape {y.shape}, and data.split.method is stratified; expected one class "
            "for each sample: use random"
        )
    return y


def _require_several(spec: Spec, train: Part) -> None:
    for name, rows in train.samples.targets.items():
        if task_of_output(spec.jobfile, name) in ("classification", "labelling"):
            y = rows.values if isinstance(rows, RaggedRows) else train.samples.target(name)
            classes.require_several(train.assembled.raw.place(name), y)


# Scaling


def _fitted_inputs(spec: Spec, train: Assembled) -> dict[str, scaling.Scale]:
    """Numbers are scaled; ids are not."""
    method = (spec.jobfile["data"].get("scaling") or {}).get("x", "none")
    names = [] if method == "none" else [name for name in train.raw.inputs if name not in _ids(spec.jobfile)]
    return {name: scaling.fit(method, train.x_pieces(name)) for name in names}


def _fitted_targets(spec: Spec, train: Assembled) -> dict[str, scaling.Scale]:
    """Numbers are scaled; classes are not."""
    method = (spec.jobfile["data"].get("scaling") or {}).get("y", "none")
    names = [] if method == "none" else list(train.samples.targets)
    numbers = [name for name in names if task_of_output(spec.jobfile, name) not in CLASS_TASKS]
    return {name: scaling.fit(method, train.y_pieces(name)) for name in numbers}


def apply(spec: Spec, assembled: Assembled, learned: Preprocessing) -> Part:
    """The samples with what was learned from the training part applied to them."""
    truth = assembled.samples
    check_shapes(assembled.raw, truth, learned.shapes)
    done = replace(
        truth,
        inputs={name: _scaled(rows, learned.x.get(name)) for name, rows in truth.inputs.items()},
        targets={name: _scaled(rows, learned.y.get(name)) for name, rows in truth.targets.items()},
    )
    check_inputs(assembled.raw, done, heads(spec.jobfile))
    return Part(done, truth, assembled)


def to_predict(spec: Spec, entry: Mapping[str, Any], learned: Preprocessing) -> Part:
    """What an entry under `predict` gives, where it is no part of the data. Raises DataError."""
    if entry.get("values") is None:
        assembled = read_assembled(spec, entry, learned, needs_y=False)
        _say([assembled.account])
        return apply(spec, assembled, learned)
    (name, *others) = names_of(spec.jobfile["data"].get("x", "x"))
    raw = Arrays("values", {name: _samples(entry["values"], learned.shapes.get(name, ()), others)}, {})
    return apply(spec, plain.assemble(raw, "error", _ids(spec.jobfile), spec.paths.work), learned)


def _samples(values: Any, expected: tuple[int | None, ...], others: list[str]) -> Any:
    """Lists as an array of samples. Raises DataError where they do not have the shape that the model's only input
    expects."""
    try:
        found = np.asarray(values, np.float32)
    except (ValueError, TypeError):
        raise DataError(f"values: are not numbers of one shape; expected {_one_sample(expected)}") from None
    if found.ndim == len(expected):
        found = found[None]
    fits = found.ndim == len(expected) + 1 and all(
        want in (None, have) for want, have in zip(expected, found.shape[1:], strict=True)
    )
    if not fits or others:
        raise DataError(
            f"values: have shape {found.shape}; expected {_one_sample(expected)}, or several of them"
            + (f", and the model has the inputs {', '.join(others)} too: name a file" if others else "")
        )
    return found


def _one_sample(expected: tuple[int | None, ...]) -> str:
    names = ", ".join("any number" if n is None else str(n) for n in expected)
    return f"one sample of shape ({names}{',' if len(expected) == 1 else ''})"


def _scaled(rows: Rows, scale: scaling.Scale | None) -> Rows:
    if scale is None:
        return rows
    if isinstance(rows, RaggedRows):  # before padding: what stands on the right is not scaled
        return replace(rows, change=scale.apply)
    return Mapped(rows, scale.apply)
