"""The job file's fields, as pydantic models: types, bounds, defaults. Keras's names: see keras_names.py.

Each field says in `expected` what an error message asks for. Nothing is converted silently: "20" is not 20.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from gpujobs import formats, steps, units
from gpujobs.jobfile.notify import Notify
from gpujobs.jobfile.section import Section, TextOrList
from gpujobs.jobfile.section import field as _field
from gpujobs.model import MAX_PRIORITY

MAX_TIME_LIMIT_SECONDS = 366 * 86400


def seconds(value: Any) -> int:
    """A time limit as `units.seconds` reads it. Raises ValueError."""
    total = units.seconds(value)
    if not 1 <= total <= MAX_TIME_LIMIT_SECONDS:
        raise ValueError("out of bounds")
    return total


def _one_line(value: str) -> str:
    if not value.isprintable() or value != value.strip() or "/" in value:
        raise ValueError("not a name")
    return value


def _gpu_name(value: str) -> str:
    if not value.isprintable() or value != value.strip() or not value.strip("*? "):
        raise ValueError("not a name")
    return value


def _data_path(value: str) -> str:
    if not value.isprintable() or value.endswith("/"):
        raise ValueError("not a path")
    return value


Name = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_one_line)]
GpuName = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_gpu_name)]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$")]
DataPath = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_data_path)]


class DataSource(Section):
    """A data file, relative to the job file's directory. A text alone is short for `{path: ...}`, which may be a
    pattern such as `data/*.csv`; a list is short for `{files: ...}`: tables, one below the other.

    `arrays` instead names one npy file for each array.
    """

    path: DataPath | None = _field(None, f"the path of a data file ({formats.KNOWN})")
    files: list[DataPath] | None = _field(
        None, "a list of paths of tables", min_length=1, max_length=formats.MAX_FILES
    )
    arrays: dict[str, DataPath] | None = _field(
        None, "a mapping of array names to .npy files", max_length=100
    )
    in_place: bool = _field(False, "true or false")

    @model_validator(mode="before")
    @classmethod
    def _from_path(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"path": value}
        return {"files": value} if isinstance(value, list) else value


def _as_columns(value: Any) -> Any:
    return [value] if isinstance(value, (str, int)) and not isinstance(value, bool) else value


def _as_name(value: Any) -> Any:
    """A column without a name goes by its number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Column = Annotated[str, Field(min_length=1, max_length=500)]
TableColumn = Annotated[Column, BeforeValidator(_as_name)]
Columns = Annotated[list[TableColumn], Field(min_length=1, max_length=10_000), BeforeValidator(_as_columns)]
SOURCE = "the path of a data file, or {path: ..., in_place: true}"

SEPARATORS = {
    "comma": ",",
    "semicolon": ";",
    "tab": "\t",
    "\\t": "\t",
    "pipe": "|",
    "space": " ",
    "\\s+": "whitespace",
}


def _separator(value: Any) -> Any:
    return SEPARATORS.get(value, value) if isinstance(value, str) else value


def _as_texts(value: Any) -> Any:
    """Numbers as they are written, since what stands in a csv file is text."""
    values = value if isinstance(value, list) else [value]
    return [
        str(one) if isinstance(one, (int, float)) and not isinstance(one, bool) else one for one in values
    ]


Sign = Annotated[str, Field(pattern=r"^[^\w\s\"]$|^[ _\u00a0\u202f]$")]
CellText = Annotated[str, Field(min_length=1, max_length=100)]
CellTexts = Annotated[list[CellText], Field(min_length=1, max_length=1000), BeforeValidator(_as_texts)]
Encoding = Annotated[Literal[formats.ENCODINGS], BeforeValidator(formats.encoding)]  # type: ignore[valid-type]


class Csv(Section):
    """How the csv files of a job are written, where looking at them does not tell, or tells something else."""

    separator: (
        Annotated[str, Field(pattern=r"^([^\w\"\r\n.\x00]|whitespace)$"), BeforeValidator(_separator)] | None
    ) = _field(None, 'one character such as ";", tab, or whitespace (any number of blanks and tabs)')
    decimal: Literal[".", ","] | None = _field(None, '"." or ","')
    thousands: Sign | None = _field(None, 'the character between thousands, such as "," or "."')
    header: Literal["first", "none"] | None = _field(
        None, "first (the first row has the names of the columns) or none (it has values)"
    )
    names: Columns | None = _field(None, "a list of column names, one for each column")
    encoding: Encoding | None = _field(None, f"one of {', '.join(formats.ENCODINGS)}")
    skip: int | None = _field(
        None, "an integer of at least 0: the lines before the column names", ge=0, le=100_000
    )
    comment: Annotated[str, Field(max_length=10, pattern=r"^[^\w\s\"]*$")] | None = _field(
        None, 'what a line that is left out begins with, such as "#" ("" for none)'
    )
    missing: CellTexts | None = _field(None, 'a list of what stands for no value, such as ["?", -999]')
    dates: CellTexts | None = _field(None, 'how times are written, such as "%d.%m.%Y %H:%M"')
    units: CellTexts | None = _field(None, 'a list of what stands beside numbers, such as ["%", "kWh"]')


Times = Annotated[list[TableColumn], Field(min_length=2, max_length=2)]


def _step(value: Any) -> Any:
    """As steps.read takes it, which raises ValueError."""
    steps.read(value)
    return value


Step = Annotated[str | int | float, AfterValidator(_step)]
STEP = (
    "a step such as 15min, 1h, 1d, business day, 1mo or 1q, a number above 0 where time is numbers, or none"
)


class Window(Section):
    """Cuts a series into samples of `length` rows, `sampling_rate` apart; the target is the `horizon` rows that follow
    after a `gap`."""

    length: int = _field(..., "an integer of at least 1", ge=1, le=10_000_000)
    horizon: int = _field(1, "an integer of at least 0 (0: the target at the last step)", ge=0, le=1_000_000)
    stride: int = _field(1, "an integer of at least 1", ge=1, le=10_000_000)
    sampling_rate: int = _field(1, "an integer of at least 1 (2: every second row)", ge=1, le=1_000_000)
    gap: int = _field(
        0, "an integer of at least 0: rows between the window and its target", ge=0, le=10_000_000
    )


class Sequence(Section):
    """Rows of a table with the same value in the column `by` are one sequence."""

    by: TableColumn = _field(..., "the name of a column, or file (each file is a sequence)")
    label: Literal["last", "each"] = _field("last", "last (one label for a sequence) or each (one per step)")


class Split(Section):
    method: Literal["random", "stratified", "group", "chronological"] = _field(
        ..., "random, stratified, group or chronological"
    )
    validation: float = _field(0.0, "a number of at least 0 and below 1", ge=0, lt=1, allow_inf_nan=False)
    test: float = _field(0.0, "a number of at least 0 and below 1", ge=0, lt=1, allow_inf_nan=False)
    seed: int = _field(0, "an integer from 0 to 4294967295", ge=0, lt=1 << 32)


Scaler = Literal["standard", "minmax", "robust", "none"]


class Scaling(Section):
    """How inputs and numeric targets are scaled; a text alone is short for both."""

    x: Scaler = _field("none", "standard, minmax, robust or none")
    y: Scaler = _field("none", "standard, minmax, robust or none")

    @model_validator(mode="before")
    @classmethod
    def _both(cls, value: Any) -> Any:
        return {"x": value, "y": value} if isinstance(value, str) else value


class Data(Section):
    train: DataSource = _field(..., SOURCE)
    validation: DataSource | None = _field(None, SOURCE)
    test: DataSource | None = _field(None, SOURCE)
    x: str | dict[str, Column] = _field("x", "the name of an array, or a mapping of inputs to arrays")
    y: str | dict[str, Column] = _field("y", "the name of an array, or a mapping of outputs to arrays")
    lengths: Column | None = _field(None, "the name of an array with the length of each sequence")
    sample_weight: TableColumn | None = _field(None, "the name of an array or column")
    group: TableColumn | None = _field(None, "the name of the array or column that tells series apart")
    time: TableColumn | Times | None = _field(
        None, "the name of the column or array that says when, or of two columns: [date, time]"
    )
    features: Columns | None = _field(None, "a list of column names")
    target: Columns | None = _field(None, "a list of column names")
    window: Window | None = _field(None, "a mapping such as {length: 24, horizon: 1}")
    sequence: Sequence | None = _field(None, "a mapping such as {by: COLUMN}")
    split: Split | None = _field(None, "a mapping such as {method: random, validation: 0.2}")
    scaling: Scaling = _field(Scaling(), "standard, minmax, robust, none, or {x: ..., y: ...}")
    missing: Literal["error", "drop", "fill"] = _field("error", "error, drop or fill")
    csv: Csv | None = _field(None, 'a mapping such as {separator: ";", decimal: ","}')
    classes: list[str | int] | None = _field(
        None, "a list of two class names or more", min_length=2, max_length=100_000
    )
    step: Step | None = _field(None, STEP)
    timezone: str | None = _field(
        None, "the name of a zone, such as Europe/Berlin", min_length=1, max_length=100
    )
    season: int | None = _field(None, "an integer of at least 1: the steps of a season", ge=1, le=10_000_000)


Names = Annotated[list[Name], Field(min_length=1, max_length=100), TextOrList]


class Branch(Section):
    """A chain of layers from inputs or other branches; several are merged by a layer first."""

    inputs: Names = _field(..., "the names of inputs or of earlier branches")
    merge: Literal["Concatenate", "Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract"] = _field(
        "Concatenate", "Concatenate, Add, Average, Maximum, Minimum, Multiply or Subtract"
    )
    layers: list[Any] = _field([], "a list of layers such as - LSTM: {units: 128}", max_length=1000)


class Model(Section):
    layers: list[Any] | None = _field(
        None, "a list of layers such as - LSTM: {units: 128}", min_length=1, max_length=1000
    )
    branches: dict[Name, Branch] | None = _field(
        None, "a mapping of names to {inputs: ..., layers: [...]}", min_length=1, max_length=100
    )
    outputs: Names | None = _field(None, "a list of branches; by default the last one")
    python: None = _field(None, "nothing: models of your own code cannot be used yet")


Mode = Literal["auto", "min", "max"]


class EarlyStopping(Section):
    monitor: str = _field("val_loss", "the name of a metric, such as val_loss")
    mode: Mode = _field("auto", "auto, min or max")
    min_delta: float = _field(0.0, "a number of at least 0", ge=0, allow_inf_nan=False)
    patience: int = _field(0, "an integer of at least 0", ge=0)
    baseline: float | None = _field(None, "a number", allow_inf_nan=False)
    start_from_epoch: int = _field(0, "an integer of at least 0", ge=0)
    restore_best_weights: bool = _field(False, "true or false")


class ReduceLROnPlateau(Section):
    monitor: str = _field("val_loss", "the name of a metric, such as val_loss")
    mode: Mode = _field("auto", "auto, min or max")
    factor: float = _field(0.1, "a number above 0 and below 1", gt=0, lt=1, allow_inf_nan=False)
    patience: int = _field(10, "an integer of at least 0", ge=0)
    min_delta: float = _field(0.0001, "a number of at least 0", ge=0, allow_inf_nan=False)
    cooldown: int = _field(0, "an integer of at least 0", ge=0)
    min_lr: float = _field(0.0, "a number of at least 0", ge=0, allow_inf_nan=False)


class BestWeights(Section):
    """The weights of the epoch whose metric was best become the model's at the end."""

    monitor: str = _field("val_loss", "the name of a metric, such as val_loss")
    mode: Mode = _field("auto", "auto, min or max")


class Training(Section):
    loss: Any = _field(..., "the name of a Keras loss, such as mean_squared_error")
    optimizer: Any = _field("adam", "the name of a Keras optimizer, or {Adam: {learning_rate: 0.001}}")
    metrics: list[Any] = _field([], "a list of Keras metrics, such as [accuracy]", max_length=100)
    epochs: int = _field(1, "an integer of at least 1", ge=1, le=1_000_000_000)
    batch_size: int = _field(32, "an integer of at least 1", ge=1, le=1_000_000_000)
    seed: int = _field(0, "an integer from 0 to 4294967295", ge=0, lt=1 << 32)
    shuffle: bool = _field(True, "true or false")
    validation_split: float = _field(
        0.0, "a number of at least 0 and below 1", ge=0, lt=1, allow_inf_nan=False
    )
    class_weight: Literal["balanced"] | dict[str | int, float] | None = _field(
        None, "balanced, or a mapping of classes to numbers"
    )
    early_stopping: EarlyStopping | None = _field(None, "a mapping such as {patience: 10}")
    reduce_lr_on_plateau: ReduceLROnPlateau | None = _field(None, "a mapping such as {patience: 5}")
    best_weights: BestWeights | None = _field(None, "a mapping such as {monitor: val_loss}")
    steps_per_execution: int = _field(1, "an integer of at least 1", ge=1, le=1_000_000)
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = _field(
        "float32", "float32, mixed_float16 or mixed_bfloat16"
    )
    deterministic: bool = _field(True, "true or false")
    backend: Literal["tensorflow", "jax"] = _field("tensorflow", "tensorflow or jax")


Task = Literal["classification", "multilabel", "regression", "forecasting", "labelling"]


class Prediction(Section):
    """What to predict for: a part of the data (`source`), or another data file (`path`)."""

    name: FileName = _field(..., "a name of letters, digits, '.', '_' and '-'; it becomes a file's name")
    source: Literal["train", "validation", "test"] | None = _field(None, "train, validation or test")
    path: DataPath | None = _field(None, "the path of a data file")
    files: list[DataPath] | None = _field(
        None, "a list of paths of tables", min_length=1, max_length=formats.MAX_FILES
    )
    values: list[Any] | None = _field(
        None, "one sample, such as [[0], [0], [1]], or a list of them", min_length=1
    )
    in_place: bool = _field(False, "true or false")
    states: Annotated[list[Name], TextOrList] = _field(
        [], "the names of recurrent layers, such as [first_lstm]", max_length=100
    )

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {"source": value} if value in ("train", "validation", "test") else {"path": value}
        if isinstance(value, dict) and "name" not in value:
            value = {"name": _default_name(value), **value}
        return value


def _default_name(entry: dict[str, Any]) -> str:
    text = entry.get("source") or entry.get("path")
    if not isinstance(text, str):
        return "data"
    return _file_name(_stem(text).rpartition("/")[2])


def _stem(path: str) -> str:
    """Without the suffixes that say the format."""
    path = path.rstrip("/")
    suffix, packed = formats.form(path)
    path = path[: -len(packed)] if packed else path
    return path[: -len(suffix)] if suffix else path


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", text).strip(".-")[:100].strip("_") or "data"


def _with_names(entries: Any) -> Any:
    """Files of one name in different directories are told apart by as much of their paths as it takes."""
    if not isinstance(entries, list):
        return entries
    paths = [_path_of(entry) for entry in entries]
    if not any(paths):
        return entries
    taken = Counter(_default_name({"path": path}) for path in dict.fromkeys(filter(None, paths)))
    return [
        entry
        if path is None or taken[_default_name({"path": path})] < 2
        else {**(entry if isinstance(entry, dict) else {"path": entry}), "name": _longer_name(path, paths)}
        for entry, path in zip(entries, paths, strict=True)
    ]


def _path_of(entry: Any) -> str | None:
    """Of an entry without a name of its own."""
    if isinstance(entry, str):
        return None if entry in ("train", "validation", "test") else entry
    path = entry.get("path") if isinstance(entry, dict) and "name" not in entry else None
    return path if isinstance(path, str) else None


def _longer_name(path: str, paths: list[str | None]) -> str:
    parts = _stem(path).strip("/").split("/")
    others = [_stem(one).strip("/").split("/") for one in paths if one is not None and one != path]
    for count in range(2, len(parts) + 1):
        if all(one[-count:] != parts[-count:] for one in others):
            return _file_name("_".join(parts[-count:]))
    return _file_name("_".join(parts) + path[len(_stem(path)) :].replace(".", "_"))


Predictions = BeforeValidator(_with_names)


MIN_GPU_MEMORY_BYTES = 64 << 20
"""Less than a CUDA context takes."""


def gpu_memory(value: Any) -> int | Literal["auto"]:
    """Bytes, or auto. Raises ValueError."""
    if value == "auto":
        return "auto"
    found = units.size_bytes(value)
    if found < MIN_GPU_MEMORY_BYTES:
        raise ValueError("out of bounds")
    return found


class Resources(Section):
    gpu: int | None = _field(None, "the number of a GPU (0 is the first), or nothing for any", ge=0, le=65535)
    node: Name | Annotated[list[Name], Field(min_length=1, max_length=1000)] | None = _field(
        None, "the name of a node or a list of 1 to 1000 names, or nothing for any"
    )
    gpu_name: GpuName | None = _field(
        None,
        'a part of a GPU\'s name such as H100 or "4090", or a pattern such as "*A100*80GB", or nothing for any',
    )
    gpu_memory: Annotated[int, Field()] | Literal["auto"] | None = _field(
        None, "a size of at least 64MiB such as 3GiB, or auto (and nothing for a whole GPU)"
    )
    time_limit: Annotated[int, Field()] | None = _field(
        None, "a duration from 1s to 366d, such as 90m, 1h30m, 1:30:00 or whole seconds"
    )
    at_limit: Literal["stop", "finish"] = _field(
        "stop", "stop, or finish: end the training before the time limit, with its model and predictions"
    )

    @model_validator(mode="before")
    @classmethod
    def _with_units(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        read = {**value}
        for key, convert in (("time_limit", seconds), ("gpu_memory", gpu_memory)):
            if read.get(key) is not None:
                try:
                    read[key] = convert(read[key])
                except ValueError:
                    read[key] = Unreadable(read[key])
        return read


class Unreadable:
    """Stands for a value that could not be converted, so that its own field reports it."""

    def __init__(self, value: Any) -> None:
        self.value = value


class JobFile(Section):
    """A job file without its `sweep`, which is expanded before."""

    name: Name = _field(..., "a name of 1 to 100 printable characters without /")
    task: Task | None = _field(
        None,
        "classification, multilabel, regression, forecasting or labelling (by default: as the loss says)",
    )
    data: Data = _field(..., "a mapping with the key train")
    model: Model = _field(..., "a mapping with the key layers")
    training: Training = _field(..., "a mapping with the key loss")
    predict: Annotated[list[Prediction], Predictions] = _field([], "a list such as [train]", max_length=1000)
    resources: Resources = _field(Resources(), "a mapping such as {time_limit: 1h}")
    retries: int = _field(1, "an integer from 0 to 100", ge=0, le=100)
    priority: int = _field(0, "an integer from -1000000 to 1000000", ge=-MAX_PRIORITY, le=MAX_PRIORITY)
    preemptible: bool = _field(False, "true or false")
    share: Literal["private", "lab"] | None = _field(None, "private or lab (by default: as the site says)")
    notify: Notify | None = _field(None, "a mapping such as {on: [failure], to: [mail]}")


class TrainedModel(Section):
    job: int = _field(..., "the number of the job that trained the model", ge=1, le=1 << 62)


class PredictionFile(Section):
    """A job file that trains nothing: it applies the model of an earlier job to new data."""

    name: Name = _field(..., "a name of 1 to 100 printable characters without /")
    model: TrainedModel = _field(..., "a mapping such as {job: 7}")
    predict: Annotated[list[Prediction], Predictions] = _field(
        ..., "a list of data files, or of {values: ...}", min_length=1, max_length=1000
    )
    resources: Resources = _field(Resources(), "a mapping such as {time_limit: 1h}")
    retries: int = _field(1, "an integer from 0 to 100", ge=0, le=100)
    priority: int = _field(0, "an integer from -1000000 to 1000000", ge=-MAX_PRIORITY, le=MAX_PRIORITY)
    preemptible: bool = _field(False, "true or false")
    share: Literal["private", "lab"] | None = _field(None, "private or lab (by default: as the site says)")
    notify: Notify | None = _field(None, "a mapping such as {on: [failure], to: [mail]}")
