"""The tables of gpujobs.toml: what a site decides about its people and its devices.

`gpujobs.config` reads the keys that say where things are, which a client needs too; this module reads the
rest, for the daemon and for `simulate`. Every table has a default, so that an empty file is a valid one.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from gpujobs.config import TABLES, nearest_key
from gpujobs.errors import UsageError
from gpujobs.policy.rules import Rules

_UNIT_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def size_bytes(value: Any) -> int:
    """`512MiB`, or a whole number of bytes. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = re.fullmatch(r"(\d{1,15}) ?(B|[KMGT]iB)", value, re.ASCII) if isinstance(value, str) else None
    if found is None:
        raise ValueError("expected a size such as 512MiB or 20GiB")
    return int(found[1]) * _UNIT_BYTES[found[2]]


Size = Annotated[int, BeforeValidator(size_bytes), Field(ge=0, lt=1 << 62)]


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Access(Table):
    """Who may do what beyond their own jobs."""

    admin_group: str | None = None
    """The UNIX group whose members may act on anybody's jobs and on devices, as root may."""

    share_group: str | None = None
    """The UNIX group that reads the results of jobs which say `share: lab`."""

    share_by_default: bool = False
    """Whether a job file that says nothing means `share: lab`."""

    hide_names: bool = False
    """Whether the queue shows other people's jobs without their names."""

    @model_validator(mode="after")
    def _has_a_group_to_share_with(self) -> Access:
        if self.share_by_default and self.share_group is None:
            raise ValueError("share_by_default needs a share_group")
        return self


class Quotas(Table):
    """How much of the daemon's machine one user may take. Sizes are bytes, or texts such as 20GiB."""

    data: Size = 100 << 30
    """Uploaded data of one user. What no job that has not ended uses gives way to what is new."""

    results: Size = 20 << 30
    """Results of one job."""

    log: Size = 256 << 20
    """The log of one attempt; what it prints beyond that is lost."""

    free_disk: Size = 2 << 30
    """No upload is taken while less than this is free: the store must stay writable."""

    connections: int = Field(default=64, ge=4, le=4096)
    """Open connections of one user at once."""


class SiteConfig(Table):
    access: Access = Access()
    quotas: Quotas = Quotas()

    def rules(self) -> Rules:
        return Rules()


def read(path: Path | None) -> SiteConfig:
    """Raises UsageError, naming the file and the key, where a value makes no sense."""
    if path is None or not path.exists():
        return SiteConfig()
    tables = {key: value for key, value in tomllib.loads(path.read_text("utf-8")).items() if key in TABLES}
    try:
        return SiteConfig.model_validate(tables)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UsageError(f"{path}: {_describe(first)}") from None


def _describe(error: Any) -> str:
    place = ".".join(map(str, error["loc"]))
    if error["type"] == "value_error":
        value = "" if isinstance(error["input"], dict) else f" is {error['input']!r}"
        return f"{place}{value}: {error['ctx']['error']}"
    if error["type"] == "extra_forbidden":
        return f"unknown key {place}{nearest_key(str(error['loc'][-1]), _fields(error['loc'][:-1]))}"
    return f"{place} is {error['input']!r}: {error['msg'][0].lower()}{error['msg'][1:]}"


def _fields(location: tuple[int | str, ...]) -> list[str]:
    """The keys that the table at a location has."""
    table: Any = SiteConfig
    for part in location:
        field = getattr(table, "model_fields", {}).get(part)
        table = None if field is None else field.annotation
    return list(getattr(table, "model_fields", ()))
