"""Every key of a job file, by the schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from gpujobs.jobfile.schema import JobFile
from gpujobs.jobfile.section import Section


def leaves(section: type[Section] = JobFile, before: str = "") -> list[str]:
    """The dotted keys that are no mappings of known keys: `training.early_stopping.patience`."""
    return list(_leaves(section, before))


def _leaves(section: type[Section], before: str) -> Iterator[str]:
    for name, field in section.model_fields.items():
        key = before + (field.alias or name)
        below = [one for one in _classes(field.annotation) if issubclass(one, Section)]
        if below and not _is_collection(field.annotation):
            yield from _leaves(below[0], f"{key}.")
        else:
            yield key


def _classes(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type):
        yield annotation
    for one in get_args(annotation):
        yield from _classes(one)


def _is_collection(annotation: Any) -> bool:
    return any(
        getattr(one, "__origin__", None) in (list, dict) for one in (annotation, *get_args(annotation))
    )


def with_value(tree: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    first, _, rest = key.partition(".")
    below = tree.get(first) or {}
    return {**tree, first: with_value(below, rest, value) if rest else value}
