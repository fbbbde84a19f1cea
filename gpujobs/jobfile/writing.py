"""A resolved job file as text again. Needs nothing but YAML: trainers import it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import yaml


class _Dumper(yaml.SafeDumper):
    """Writes no anchors for shared parts, and scalars that YAML 1.1 and 1.2 read alike."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isidentifier() else '"')


def _represent_float(dumper: _Dumper, value: float) -> yaml.ScalarNode:
    text = repr(value)
    if "." not in text:  # YAML 1.1 reads 1e-07 as text
        text = text.replace("e", ".0e")
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(float, _represent_float)


def dump(resolved: Mapping[str, Any]) -> str:
    """A resolved job file as YAML. Reading it again gives the same job."""
    return yaml.dump(dict(resolved), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def with_absolute_paths(resolved: Mapping[str, Any], directory: PurePath) -> dict[str, Any]:
    """The same job for a file that lies anywhere. `directory`: of the job file that it was made of; where that is not
    known, and so not absolute, the paths stay as they are."""
    job = dict(resolved)
    if not directory.is_absolute():
        return job
    if "data" in job:
        parts = {part: job["data"].get(part) for part in ("train", "validation", "test")}
        rooted = {part: _rooted(source, directory) for part, source in parts.items() if source}
        job["data"] = {**job["data"], **rooted}
    job["predict"] = [_rooted(entry, directory) for entry in job.get("predict") or ()]
    return job


def _rooted(source: Mapping[str, Any], directory: PurePath) -> dict[str, Any]:
    """One of the places that name files: `path`, `files`, or `arrays` by name."""
    found = dict(source)
    if source.get("path"):
        found["path"] = _absolute(source["path"], directory)
    if source.get("files"):
        found["files"] = [_absolute(one, directory) for one in source["files"]]
    if source.get("arrays"):
        found["arrays"] = {name: _absolute(one, directory) for name, one in source["arrays"].items()}
    return found


def _absolute(path: str, directory: PurePath) -> str:
    return path if path.startswith("~") else os.path.normpath(directory / path)
