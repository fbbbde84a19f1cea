"""Finding the measurements and running one."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from pathlib import Path

from benchmarks.support.options import Options
from benchmarks.support.rows import Row

DIRECTORY = Path(__file__).parents[1]
PACKAGE = DIRECTORY.name


def names() -> list[str]:
    found = pkgutil.iter_modules([str(DIRECTORY)])
    return [module.name for module in found if not module.ispkg and not module.name.startswith("_")]


def description(name: str) -> str:
    """The first line of its module, without importing it."""
    source = ast.parse((DIRECTORY / f"{name}.py").read_text())
    return (ast.get_docstring(source) or "").partition("\n")[0]


def run(name: str, options: Options) -> list[Row]:
    rows: list[Row] = importlib.import_module(f"{PACKAGE}.{name}").measure(options)
    return rows
