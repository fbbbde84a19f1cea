"""What the models of a job file's parts are made of."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def field(default: Any, expected: str, **bounds: Any) -> Any:
    return Field(default, json_schema_extra={"expected": expected}, **bounds)


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


TextOrList = BeforeValidator(_as_list)
"""Lets a text stand for a list of one."""
