"""The tables of gpujobs.toml: what a site decides about its people and its devices.

`gpujobs.config` reads the keys that say where things are, which a client needs too; this module reads the
rest, for the daemon and for `simulate`. Every table has a default, so that an empty file is a valid one.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from gpujobs.config import TABLES, nearest_key
from gpujobs.errors import UsageError


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Access(Table):
    """Who may do what beyond their own jobs."""

    admin_group: str | None = None
    """The UNIX group whose members may act on anybody's jobs and on devices, as root may."""

    share_group: str | None = None
    """The UNIX group that reads the results of jobs which say `share: lab`."""

    share_by_default: bool = False
    hide_names: bool = False
    """Whether the queue shows other people's jobs without their names."""


class SiteConfig(Table):
    access: Access = Access()


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
