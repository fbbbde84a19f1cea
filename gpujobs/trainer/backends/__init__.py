"""What belongs to a backend of Keras: its device, its steps, its versions. One module for each backend.

Keras takes its backend from KERAS_BACKEND when it is imported, so a launcher has one for life, and with it all
that it forks: the module `active`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import keras

from gpujobs.trainer.backends.interface import Backend

if TYPE_CHECKING:
    from gpujobs.trainer.backends import jax, tensorflow

    _jax: Backend = jax  # holds the modules against the interface
    _tensorflow: Backend = tensorflow

active = cast(Backend, importlib.import_module(f"{__name__}.{keras.backend.backend()}"))


def configure(training: Mapping[str, Any]) -> None:
    """Seeds everything, makes operations repeatable, and sets the precision of layers that say none."""
    if training.get("seed") is not None:
        keras.utils.set_random_seed(training["seed"])
        if training.get("deterministic", True):
            active.make_deterministic()
    keras.config.set_dtype_policy(training.get("precision") or "float32")
