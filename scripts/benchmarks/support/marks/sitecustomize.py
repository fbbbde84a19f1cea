"""Writes down when a daemon, its agent, launcher, supervisors and trainers reach what a benchmark asks about.

Python imports this at its start where its directory is on PYTHONPATH. Each line of the file `marks` beside it is
`monotonic_seconds processor_seconds pid name`; of a function there are two, `NAME.begin` and `NAME.end`. What a version
of gpujobs does not have is left out.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

FILE = Path(__file__).resolve().with_name("marks")
FUNCTIONS = {
    "gpujobs.trainer.train": ("run", "prepare", "predict_all", "evaluate", "finish"),
    "gpujobs.trainer.building": ("build",),
    "gpujobs.trainer.training_loop": ("TrainingLoop.run", "TrainingLoop.epoch"),
    "gpujobs.trainer.outputs": ("write",),
    "gpujobs.trainer.pictures": ("draw",),
    "keras.src.models.model": ("Model.save",),
}


def mark(name: str) -> None:
    line = f"{time.monotonic()} {time.process_time()} {os.getpid()} {name}\n"
    descriptor = os.open(FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.write(descriptor, line.encode())
    os.close(descriptor)


def between(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def marked(*args: Any, **kwargs: Any) -> Any:
        mark(f"{name}.begin")
        try:
            return function(*args, **kwargs)
        finally:
            mark(f"{name}.end")

    return marked


def watch(module: Any) -> None:
    if module.__name__ == "gpujobs.failpoints":
        reach = module.reach

        def reached(name: str) -> None:
            mark(name)
            reach(name)

        module.reach = reached
    for path in FUNCTIONS.get(module.__name__, ()):
        *outer, name = path.split(".")
        owner = functools.reduce(lambda one, part: getattr(one, part, None), outer, module)
        if (function := getattr(owner, name, None)) is not None:
            setattr(owner, name, between(path, function))


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname not in FUNCTIONS and fullname != "gpujobs.failpoints":
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                watch(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


if "gpujobs" in " ".join(sys.orig_argv) or "ray" in " ".join(sys.orig_argv):
    sys.meta_path.insert(0, Finder())
