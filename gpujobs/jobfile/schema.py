"""The job file's fields, as pydantic models: types, bounds, defaults. Keras's names: see keras_names.py.

Each field says in `expected` what an error message asks for. Nothing is converted silently: "20" is not 20.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

MAX_TIME_LIMIT_SECONDS = 366 * 86400
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(value: Any) -> int:
    """`1h`, `90m`, `1h30m`, `1:30:00` or a whole number of seconds, as seconds. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        total = value
    elif not isinstance(value, str):
        raise ValueError("not a duration")
    elif clock := re.fullmatch(r"(\d{1,5}):([0-5]\d):([0-5]\d)", value, re.ASCII):
        total = int(clock[1]) * 3600 + int(clock[2]) * 60 + int(clock[3])
    elif re.fullmatch(r"(\d{1,9}[smhd])+", value, re.ASCII):
        total = sum(int(n) * _UNIT_SECONDS[unit] for n, unit in re.findall(r"(\d+)([smhd])", value))
    else:
        raise ValueError("not a duration")
    if not 1 <= total <= MAX_TIME_LIMIT_SECONDS:
        raise ValueError("out of bounds")
    return total


def _one_line(value: str) -> str:
    if not value.isprintable() or value != value.strip() or "/" in value:
        raise ValueError("not a name")
    return value


def _data_path(value: str) -> str:
    if not value.isprintable() or value.endswith("/"):
        raise ValueError("not a path")
    return value


Name = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_one_line)]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$")]
DataPath = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_data_path)]


def _field(default: Any, expected: str, **bounds: Any) -> Any:
    return Field(default, json_schema_extra={"expected": expected}, **bounds)


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class DataSource(Section):
    """A data file, relative to the job file's directory. A text alone is short for `{path: ...}`."""

    path: DataPath = _field(..., "the path of a data file")
    in_place: bool = _field(False, "true or false")

    @model_validator(mode="before")
    @classmethod
    def _from_path(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value


class Data(Section):
    train: DataSource = _field(..., "the path of a data file, or {path: ..., in_place: true}")
    validation: DataSource | None = _field(None, "the path of a data file, or {path: ..., in_place: true}")


class Model(Section):
    layers: list[Any] = _field(
        ..., "a list of layers such as - LSTM: {units: 128}", min_length=1, max_length=1000
    )


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


class Prediction(Section):
    """What to predict for: the training or validation data (`source`), or another data file (`path`)."""

    name: FileName = _field(..., "a name of letters, digits, '.', '_' and '-'; it becomes a file's name")
    source: Literal["train", "validation"] | None = _field(None, "train or validation")
    path: DataPath | None = _field(None, "the path of a data file")
    in_place: bool = _field(False, "true or false")

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {"source": value} if value in ("train", "validation") else {"path": value}
        if isinstance(value, dict) and "name" not in value:
            value = {"name": _default_name(value), **value}
        return value


def _default_name(entry: dict[str, Any]) -> str:
    text = entry.get("source") or entry.get("path")
    if not isinstance(text, str):
        return "data"
    stem = text.rstrip("/").rpartition("/")[2].rsplit(".", 1)[0]
    return re.sub(r"[^A-Za-z0-9._-]", "_", stem).lstrip(".-")[:100] or "data"


class Resources(Section):
    gpu: int | None = _field(None, "the number of a GPU (0 is the first), or nothing for any", ge=0, le=65535)
    time_limit: Annotated[int, Field()] | None = _field(
        None, "a duration such as 90m, 1h30m, 1:30:00 or seconds"
    )

    @model_validator(mode="before")
    @classmethod
    def _duration(cls, value: Any) -> Any:
        if not isinstance(value, dict) or value.get("time_limit") is None:
            return value
        try:
            return {**value, "time_limit": seconds(value["time_limit"])}
        except ValueError:
            return {**value, "time_limit": Unreadable(value["time_limit"])}


class Unreadable:
    """Stands for a value that could not be converted, so that its own field reports it."""

    def __init__(self, value: Any) -> None:
        self.value = value


class JobFile(Section):
    """A job file without its `sweep`, which is expanded before."""

    name: Name = _field(..., "a name of 1 to 100 printable characters without /")
    data: Data = _field(..., "a mapping with the key train")
    model: Model = _field(..., "a mapping with the key layers")
    training: Training = _field(..., "a mapping with the key loss")
    predict: list[Prediction] = _field([], "a list such as [train]", max_length=1000)
    resources: Resources = _field(Resources(), "a mapping such as {time_limit: 1h}")
    retries: int = _field(1, "an integer from 0 to 100", ge=0, le=100)
    priority: int = _field(0, "an integer from -1000000 to 1000000", ge=-1_000_000, le=1_000_000)
