"""A resolved job file as text again. Needs nothing but YAML: trainers import it."""

from __future__ import annotations

from collections.abc import Mapping
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
