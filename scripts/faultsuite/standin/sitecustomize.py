"""Puts small things in the place of Ray and of Keras, so that a fault is tried in a second: see README.md.

Found by Python at its start, where this directory is in PYTHONPATH.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).parent
REPLACED = {
    "child": HERE / "small_child.py",
    "preload": HERE / "small_preload.py",
    "backends": HERE / "small_backends.py",
}
"""The last part of a module's name in the trainer's packages, and what is loaded in its place."""


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> Any:
        package, _, last = name.rpartition(".")
        if last not in REPLACED or not package.startswith("gpujobs."):
            return None
        return importlib.util.spec_from_file_location(name, REPLACED[last])


sys.meta_path.insert(0, _Finder())
