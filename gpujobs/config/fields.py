"""What the tables of gpujobs.toml are made of: the kinds of their values, in the words that people are told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from gpujobs import units
from gpujobs.errors import UsageError


def _duration(value: object) -> int:
    try:
        return units.seconds(value)
    except ValueError:
        raise ValueError("expected a duration such as 90m, 12h or 7d, or seconds") from None


def _size(value: object) -> int:
    try:
        return units.size_bytes(value)
    except ValueError:
        raise ValueError("expected a size such as 512MiB or 3GiB, or bytes") from None


def _absolute(value: object) -> object:
    if isinstance(value, str) and not value.startswith("/"):
        raise ValueError("expected a path that begins with /")
    return value


def text_of(read: Callable[[str], object]) -> BeforeValidator:
    """A text that `read` takes. Of the UsageError that it raises, what was expected is told."""

    def check(value: object) -> object:
        if isinstance(value, str):
            try:
                read(value)
            except UsageError as error:
                raise ValueError(str(error).partition("; ")[2]) from None
        return value

    return BeforeValidator(check)


Seconds = Annotated[int, BeforeValidator(_duration)]
Duration = Annotated[Seconds, Field(ge=0)]
PositiveDuration = Annotated[Seconds, Field(ge=1)]
Size = Annotated[int, BeforeValidator(_size), Field(ge=0, lt=1 << 62)]
PositiveSize = Annotated[int, BeforeValidator(_size), Field(ge=1, lt=1 << 62)]
Absolute = Annotated[str, BeforeValidator(_absolute)]


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
