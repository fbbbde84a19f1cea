"""The one strict parser of all messages, and the one writer.

A message is a frozen dataclass below `Message`. Where it is read, every field without a default must be there and of
its type (a number is no text, true no number, NaN nothing), and a field that the class lacks is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, TypeVar

from annotated_types import Ge, Lt, Predicate

from gpujobs.model import iso

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

MAX_SHOWN = 60
MAX_UNKNOWN = 8
"""So often a message is read again, without what was unknown."""

UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")


class ShapeError(ValueError):
    """A message that lacks a field, has one too many, or one of another type. Says which."""


@dataclass(frozen=True, slots=True)
class Message:
    """Base of all that crosses a border."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}


@dataclass(frozen=True, slots=True)
class Tagged(Message):
    """One of several kinds, which a word tells apart."""

    tag: ClassVar[str]


M = TypeVar("M", bound=Message)
T = TypeVar("T", bound=Tagged)


def is_an_instant_with_its_zone(text: str) -> bool:
    """A predicate's name is what a message says was expected."""
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


Instant = Annotated[str, Predicate(is_an_instant_with_its_zone)]
"""ISO 8601 with its zone, as `model.iso` writes it."""


def instant(at: datetime) -> str:
    """As messages have it."""
    return str(iso(at))


Number = Annotated[int, Ge(1), Lt(1 << 63)]
"""A pid, the number of a job or of an attempt."""

Count = Annotated[int, Ge(0), Lt(1 << 63)]


def parse(kind: type[M], value: bytes | str | Mapping[str, Any], name: str = "") -> M:
    """`value`: JSON, or what was read from it. `name` is for the words. Raises ShapeError."""
    from pydantic import ValidationError

    text = value if isinstance(value, bytes | str) else json.dumps(value)
    try:
        parsed: M = _adapter(kind).validate_json(text, strict=True)
    except ValidationError as error:
        raise ShapeError(f"{name or kind.__name__}: {_words(error)}") from None
    return parsed


def parse_known(kind: type[M], value: Mapping[str, Any], name: str = "") -> M:
    """As `parse`, of a message that a later version may have written: what is unknown, at any depth, is left out."""
    from pydantic import ValidationError

    left: dict[str, Any] = json.loads(json.dumps(value))
    for _ in range(MAX_UNKNOWN):
        try:
            parsed: M = _adapter(kind).validate_json(json.dumps(left), strict=True)
        except ValidationError as error:
            unknown = [one["loc"] for one in error.errors() if one["type"] in UNKNOWN]
            taken_out = [_without(left, place) for place in unknown]
            if True not in taken_out:
                break
        else:
            return parsed
    return parse(kind, left, name)


def _without(value: Any, place: tuple[int | str, ...]) -> bool:
    """Whether it was there to be taken out. A place in a union has names that are in no value: they are passed over."""
    for step in place[:-1]:
        if isinstance(value, dict):
            value = value.get(step, value)
        elif isinstance(value, list) and isinstance(step, int):
            value = value[step]
    return isinstance(value, dict) and value.pop(place[-1], value) is not value


def write(message: Message) -> dict[str, Any]:
    """For `json.dumps`; the inverse of `parse`."""
    return {field.name: _plain(getattr(message, field.name)) for field in fields(message)}


def encode(message: Message) -> bytes:
    return json.dumps(write(message)).encode()


def warm(kinds: Iterable[type[Message]]) -> None:
    """Makes the parsers before a fork, which would each make them again."""
    for kind in kinds:
        _adapter(kind)


class Vocabulary(Generic[T]):
    """The messages of one border that `key` tells apart."""

    def __init__(self, key: str, *kinds: type[T]) -> None:
        self._key = key
        self._kinds = {kind.tag: kind for kind in kinds}

    @property
    def kinds(self) -> tuple[type[T], ...]:
        return tuple(self._kinds.values())

    def write(self, message: T) -> dict[str, Any]:
        return {self._key: message.tag, **write(message)}

    def encode(self, message: T) -> bytes:
        return json.dumps(self.write(message)).encode()

    def parse(self, value: bytes | str | Mapping[str, Any], *, known_only: bool = False) -> T:
        """Raises ShapeError, also where it is none of these. `known_only`: as `parse_known`."""
        given = value if isinstance(value, Mapping) else loads(value)
        kind = self._kinds.get(str(given.get(self._key)))
        if kind is None:
            known = ", ".join(self._kinds)
            raise ShapeError(f"{self._key} is {given.get(self._key)!r:.{MAX_SHOWN}}; expected one of {known}")
        rest = {key: item for key, item in given.items() if key != self._key}
        return (parse_known if known_only else parse)(kind, rest, kind.tag)


def loads(text: bytes | str) -> Mapping[str, Any]:
    """A JSON object. Raises ShapeError."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ShapeError(f"is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise ShapeError(f"is {value!r:.{MAX_SHOWN}}; expected a JSON object")
    return value


def known_fields(kind: type[Message], value: Mapping[str, Any]) -> dict[str, Any]:
    """Without the fields that the class lacks: for files that a later version may have written."""
    names = {field.name for field in fields(kind)}
    return {key: item for key, item in value.items() if key in names}


_adapters: dict[type[Message], TypeAdapter[Any]] = {}


def _adapter(kind: type[Message]) -> TypeAdapter[Any]:
    """Made when it is first needed: a process that only writes imports no parser."""
    if kind not in _adapters:
        from pydantic import TypeAdapter

        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _words(error: ValidationError) -> str:
    return "; ".join(map(_problem, error.errors(include_url=False, include_context=False)))


def _problem(one: Any) -> str:
    place = ".".join(str(part) for part in one["loc"])
    if one["type"] in ("missing", "missing_argument"):
        return f"{place} is missing"
    if one["type"] in UNKNOWN:
        return f"{place} is unknown"
    if one["type"] == "predicate_failed":
        said = (
            one["msg"].split()[1].strip("'").removeprefix("is_").replace("_", " ")
        )  # "Predicate is_... failed"
        return f"{place} is {one['input']!r:.{MAX_SHOWN}}; expected {said}"
    said = str(one["msg"]).removeprefix("Input should be ").removeprefix("a valid ")
    return f"{place or 'it'} is {one['input']!r:.{MAX_SHOWN}}; expected {said}"
