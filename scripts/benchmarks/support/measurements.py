"""Finding the measurements and running one."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

from benchmarks.support.options import Options
from benchmarks.support.rows import Row

DIRECTORY = Path(__file__).parents[1]
PACKAGE = DIRECTORY.name


def names() -> list[str]:
    found = pkgutil.iter_modules([str(DIRECTORY)])
    return [module.name for module in found if not module.ispkg and not module.name.startswith("_")]


def description(name: str) -> str:
    return (ast.get_docstring(_source_of(name)) or "").partition("\n")[0]


def run(name: str, options: Options) -> list[Row] | str:
    """The rows of a measurement, or what a script printed."""
    if _is_script(name):
        command = [sys.executable, "-m", f"{PACKAGE}.{name}"]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.rstrip()
    rows: list[Row] = importlib.import_module(f"{PACKAGE}.{name}").measure(options)
    return rows


def _source_of(name: str) -> ast.Module:
    """Without importing it: a plain script may import what the others must not."""
    return ast.parse((DIRECTORY / f"{name}.py").read_text())


def _is_script(name: str) -> bool:
    defined = {node.name for node in _source_of(name).body if isinstance(node, ast.FunctionDef)}
    return "measure" not in defined
