"""From a job's data files to samples in parts: train, validation, test."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gpujobs.jobfile import losses
from gpujobs.jobfile.consistency import implied_task, outputs_of, task_of_output
from gpujobs.jobfile.ways import has_learned_mask, steps_of
from gpujobs.protocol.spec import AttemptSpec
from gpujobs.trainer.data.arrays import Integers
from gpujobs.trainer.data.fitting import absent, classes, precision
from gpujobs.trainer.data.fitting.checks import check_inputs, check_shapes
from gpujobs.trainer.data.fitting.counted import counted, is_cut, labels, task_of_target
from gpujobs.trainer.data.fitting.fitted import (
    Assembled,
    fitted_inputs,
    fitted_targets,
    ids_of,
    scaled,
    scaled_inputs,
    unscaled_inputs,
    unscaled_targets,
)
from gpujobs.trainer.data.fitting.preprocessing import Preprocessing
from gpujobs.trainer.data.notices import Account, say
from gpujobs.trainer.data.reading import sources
from gpujobs.trainer.data.reading.input_requirements import heads, names_of
from gpujobs.trainer.data.reading.loaded import CLASS_TASKS, Known, LoadedData
from gpujobs.trainer.data.samples import accounts, plain, ragged, splits, windowed
from gpujobs.trainer.data.samples.rows import Mapped, Rows
from gpujobs.trainer.data.samples.samples import Samples
from gpujobs.trainer.data.samples.windowed import Windowed
from gpujobs.trainer.failures import DataError, together

Source = TypeVar("Source")
Found = TypeVar("Found")
Named = Mapping[str, classes.Classes]
"""The classes of each output whose labels are not numbers already."""

LEARNED_MASK = (
    "model: a Masking behind layers that change values masks steps by what they have learned. Since other steps count "
    "nowhere here, those that it masks count in the losses and metrics."
)


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


def prepare(spec: AttemptSpec, raw: LoadedData | None = None) -> Prepared:
    """`raw`: the training file's, where it has been read. Raises DataError, naming file and array or column."""
    data, task = spec.jobfile["data"], task_of(spec)
    raw = read_training(spec) if raw is None else raw
    task = _seen(spec, raw, task)
    named = _named(spec, raw)
    known = _known(named, raw)
    others = {part: data[part] for part in ("validation", "test") if data.get(part)}
    try:
        assembled = {"train": _assemble(spec, raw, task, named)}
    except DataError as error:
        errors = _errors_of(others, lambda source: _read(spec, source, task, named, known, needs_y=True))
        raise together([error, *errors]) from None
    usual = _step(assembled["train"])
    assembled |= all_of(
        others,
        lambda source: _read(spec, source, task, named, known, needs_y=True, usual=usual),
    )
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
        x=fitted_inputs(spec, train),
        y=fitted_targets(spec, train),
        classes=named,
        features=raw.features,
        truths=raw.truths,
        target_names=raw.target_names,
        shapes={name: rows.row_shape for name, rows in train.samples.inputs.items()},
        step=_step(train),
        number_format=raw.number_format,
        date_order=raw.date_order,
    )
    say(dict.fromkeys(_rounded(spec, raw, train, learned)))
    parts = {part: apply(spec, one, learned) for part, one in assembled.items()}
    _require_several(spec, parts["train"].truth, train, named)
    if parts["train"].samples.counted and has_learned_mask(spec.jobfile, parts["train"].samples.inputs):
        say([LEARNED_MASK])
    say(absent.notices(spec.jobfile, parts, named))
    return Prepared(parts, learned, tuple(accounts_of.values()))


def _rounded(spec: AttemptSpec, raw: LoadedData, train: Assembled, learned: Preprocessing) -> Iterator[str]:
    yield from precision.notices(raw, learned.x, raw.features)
    yield from precision.notices(raw, learned.y, raw.target_names)
    yield from precision.unscaled(raw, unscaled_inputs(spec, train, learned), raw.features)
    yield from precision.unscaled(raw, unscaled_targets(spec, train, learned), raw.target_names)


def _say(found: Iterable[Account]) -> None:
    """What is left out, and of series always how many windows they make."""
    for one in found:
        if one.is_worth_saying:
            say(one.lines())


def _step(assembled: Assembled) -> str | None:
    """What the rows of most series are apart."""
    line = assembled.timeline if isinstance(assembled, Windowed) else None
    return line.steps[0].name if line is not None and line.steps[0] is not None else None


def all_of(sources: Mapping[str, Source], read: Callable[[Source], Found]) -> dict[str, Found]:
    """What `read` gives of each. Raises DataError with the problems of all of them."""
    found, errors = {}, []
    for name, source in sources.items():
        try:
            found[name] = read(source)
        except DataError as error:
            errors.append(error)
    if errors:
        raise together(errors)
    return found


def _errors_of(sources: Mapping[str, Source], read: Callable[[Source], object]) -> list[DataError]:
    try:
        all_of(sources, read)
    except DataError as error:
        return [error]
    return []


def read_training(spec: AttemptSpec) -> LoadedData:
    """Raises DataError, with what is wrong with the files of validation and test too."""
    data, task = spec.jobfile["data"], task_of(spec)
    try:
        return sources.read(spec, data["train"], task, needs_y=True)
    except DataError as error:
        others = {part: data[part] for part in ("validation", "test") if data.get(part)}
        errors = _errors_of(others, lambda source: sources.read(spec, source, task, needs_y=True))
        raise together([error, *errors]) from None


def task_of(spec: AttemptSpec) -> str:
    """As the job file says; several outputs have no task of their own."""
    job = spec.jobfile
    return str(job.get("task") or implied_task(job) or "several")


def _named(spec: AttemptSpec, raw: LoadedData) -> Named:
    given = spec.jobfile["data"].get("classes")
    names = [name for name in raw.targets if task_of_output(spec.jobfile, name) in CLASS_TASKS]
    found = {name: classes.find(given, raw.words.get(name)) for name in names}
    for name in names:
        is_hinge = losses.is_hinge(losses.of_output(spec.jobfile, name))
        if found[name] is None and is_hinge and classes.are_signs(raw.targets[name]):
            found[name] = classes.Classes((-1, 1))
    return {name: one for name, one in found.items() if one is not None}


def read_assembled(
    spec: AttemptSpec, source: Mapping[str, Any], learned: Preprocessing, *, needs_y: bool
) -> Assembled:
    """The samples of another file than the job was trained with."""
    named, known = learned.classes, _known(learned.classes, learned)
    return _read(spec, source, learned.task, named, known, needs_y=needs_y, usual=learned.step)


def _known(named: Named, told: LoadedData | Preprocessing) -> Known:
    """What is told of the training file, for the reading of others."""
    are_text = any(one.are_text for one in named.values())
    return Known(are_text, told.features, told.truths, told.number_format, told.date_order)


def _read(
    spec: AttemptSpec,
    source: Mapping[str, Any],
    task: str,
    named: Named,
    known: Known,
    *,
    needs_y: bool,
    usual: str | None = None,
) -> Assembled:
    raw = sources.read(spec, source, task, needs_y=needs_y, known=known)
    return _assemble(spec, raw, task, named, is_open=not needs_y, usual=usual)


def _assemble(
    spec: AttemptSpec,
    raw: LoadedData,
    task: str,
    named: Named,
    *,
    is_open: bool = False,
    usual: str | None = None,
) -> Assembled:
    data, scratch = spec.jobfile["data"], spec.paths.work
    handling = data.get("missing", "error")
    per_step = _per_step(spec, raw, task)
    if raw.lengths is not None:
        raw = ragged.without_padding(raw, per_step)
    if task != "multilabel":
        ignored = {name: losses.ignored(losses.of_output(spec.jobfile, name)) for name in raw.targets}
        targets = {
            name: _encoded(
                raw, name, y, named, ignored[name], is_one_hot=y.ndim > _label_axes(spec, raw, name, task)
            )
            for name, y in raw.targets.items()
        }
        raw = replace(raw, targets=targets)
    if data.get("window"):
        of_class = _of_class(spec)
        if of_class and of_class == set(outputs_of(spec.jobfile)):
            task = "classification"
        return windowed.assemble(raw, data, task, scratch, is_open=is_open, usual=usual, of_class=of_class)
    if raw.lengths is not None:
        return ragged.assemble(raw, task, handling, heads(spec.jobfile), per_step=per_step)
    return plain.assemble(raw, handling, ids_of(spec.jobfile), scratch)


def _of_class(spec: AttemptSpec) -> frozenset[str]:
    """Of several outputs those that tell a class."""
    names = outputs_of(spec.jobfile)
    if len(names) < 2:
        return frozenset()
    return frozenset(name for name in names if task_of_output(spec.jobfile, name) == "classification")


def _seen(spec: AttemptSpec, raw: LoadedData, task: str) -> str:
    """Labelling, though the job file says nothing of it, where a model of one output and its target of arrays have a
    class for each step."""
    job = spec.jobfile
    if task != "classification" or is_cut(job) or len(raw.targets) != 1:
        return task
    ((name, y),) = raw.targets.items()
    own = steps_of(job, name, _with_steps(spec, raw))
    if raw.lengths is not None:
        return "labelling" if own and ragged.has_steps(raw, name) else task
    return "labelling" if own and y.ndim > 1 else task


def _with_steps(spec: AttemptSpec, raw: LoadedData) -> list[str]:
    """The inputs that are no facts about a sample."""
    of_inputs = heads(spec.jobfile)
    if raw.lengths is not None:
        return [name for name, x in raw.inputs.items() if not ragged.is_static(raw, x, of_inputs[name])]
    return [name for name, x in raw.inputs.items() if x.ndim > 2 or of_inputs[name].ids is not None]


def _per_step(spec: AttemptSpec, raw: LoadedData, task: str) -> Collection[str]:
    """Of sequences, the targets that have a value for each step: the labels of an only output as the job file says, all
    else as the file has them, where the model has an output for each."""
    if raw.lengths is None:
        return ()
    names = list(raw.targets) or ["y"]
    if task == "labelling" or (spec.jobfile["data"].get("sequence") or {}).get("label") == "each":
        return names
    is_alone = len(raw.targets) == 1
    some = [n for n in raw.targets if not is_alone or task_of_output(spec.jobfile, n) not in CLASS_TASKS]
    own = _with_steps(spec, raw)
    return [name for name in some if steps_of(spec.jobfile, name, own) and ragged.has_steps(raw, name)]


def _label_axes(spec: AttemptSpec, raw: LoadedData, name: str, task: str) -> int:
    """How many axes the labels of a target have before they are samples, without that of one-hot rows."""
    if raw.lengths is not None or spec.jobfile["data"].get("window"):
        return 1  # one row after the other
    if task == "labelling":
        return 2
    is_class = task_of_output(spec.jobfile, name) == "classification" and len(raw.targets) > 1
    return 2 if is_class and steps_of(spec.jobfile, name, _with_steps(spec, raw)) else 1


def _encoded(
    raw: LoadedData, name: str, y: NDArray[Any], named: Named, ignored: int | None, *, is_one_hot: bool
) -> NDArray[Any]:
    """`ignored` stays what it is: it is no class. `is_one_hot`: whether rows of zeros and ones are."""
    if name not in named:
        return classes.numbered(raw.place(name), y, raw.words[name]) if name in raw.words else y
    if ignored is None or name in raw.words or not (there := y != ignored).any() or there.all():
        return named[name].encode(raw.place(name), y, raw.words.get(name), is_one_hot=is_one_hot)
    encoded = np.full(y.shape, ignored, np.int64)
    encoded[there] = named[name].encode(raw.place(name), y[there], None, is_one_hot=False)
    return encoded


# Parts


def _split(spec: AttemptSpec, assembled: Mapping[str, Assembled]) -> dict[str, Assembled]:
    train, settings = assembled["train"], spec.jobfile["data"].get("split")
    share = float(spec.jobfile["training"].get("validation_split") or 0.0)
    if settings is None and not share:
        return {}
    if settings is None:  # Keras's: the last ones
        count = int(len(train.samples) * (1 - share))
        parts: dict[str, Any] = dict(zip(("train", "validation"), train.first(count), strict=True))
        settings = {"validation": share, "test": 0.0}
    else:
        parts = dict(train.split(settings, _labels(spec, train, settings["method"])))
    sizes = {name: len(parts[name].samples) if name in parts else 0 for name in splits.PARTS}
    splits.require_some(train.raw.file, sizes, settings)
    return {name: part for name, part in parts.items() if name == "train" or settings[name] > 0}


def _labels(spec: AttemptSpec, train: Assembled, method: str) -> Integers | None:
    """The class of each sample, for a stratified split."""
    if method != "stratified":
        return None
    name = next(iter(train.samples.targets))
    y = train.samples.target(name)
    is_each = task_of_target(spec.jobfile, name, train.samples) == "labelling"
    y = y.argmax(axis=-1) if classes.is_one_hot(y) and not is_each else y
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if y.ndim > 1:
        raise DataError(
            f"{train.raw.place(name)}: has shape {y.shape}, and data.split.method is stratified; expected one class "
            "for each sample: use random"
        )
    return y


def _require_several(spec: AttemptSpec, train: Samples, assembled: Assembled, named: Named) -> None:
    for name in train.targets:
        task = task_of_target(spec.jobfile, name, train)
        if task in ("classification", "labelling"):
            found = labels(train, name, task)
            classes.require_several(assembled.raw.place(name), found, named.get(name))


def apply(spec: AttemptSpec, assembled: Assembled, learned: Preprocessing) -> Part:
    """The samples with what was learned from the training part applied to them."""
    truth = assembled.samples
    check_shapes(assembled.raw, truth, learned.shapes)
    truth = replace(truth, counted=counted(spec.jobfile, truth))
    done = replace(
        truth,
        inputs={
            name: _as_ids(spec, assembled.raw, name, rows)
            for name, rows in scaled_inputs(spec, truth.inputs, learned).items()
        },
        targets={name: scaled(rows, learned.y.get(name)) for name, rows in truth.targets.items()},
    )
    check_inputs(assembled.raw, done, heads(spec.jobfile))
    return Part(done, truth, assembled)


def to_predict(spec: AttemptSpec, entry: Mapping[str, Any], learned: Preprocessing) -> Part:
    """What an entry under `predict` gives, where it is no part of the data. Raises DataError."""
    if entry.get("values") is None:
        assembled = read_assembled(spec, entry, learned, needs_y=False)
        _say([assembled.account])
        return apply(spec, assembled, learned)
    (name, *others) = names_of(spec.jobfile["data"].get("x", "x"))
    raw = LoadedData("values", {name: _samples(entry["values"], learned.shapes.get(name, ()), others)}, {})
    return apply(spec, plain.assemble(raw, "error", ids_of(spec.jobfile), spec.paths.work), learned)


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


def _as_ids(spec: AttemptSpec, raw: LoadedData, name: str, rows: Rows) -> Rows:
    """The only column of a table's windows as the ids that an Embedding takes, a number for each step."""
    if name not in ids_of(spec.jobfile) or not raw.features or rows.row_shape[-1:] != (1,):
        return rows
    return Mapped(rows, lambda steps: steps[..., 0].astype(np.int32), rows.row_shape[:-1])
