"""What belongs to a backend of Keras: its device, its steps, its versions. One module for each backend.

Keras takes its backend from KERAS_BACKEND when it is imported, so a launcher has one for life, and with it all
that it forks: the module `active`.
"""

from __future__ import annotations

import importlib
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import keras
import numpy as np
from keras.src.backend.common import global_state
from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR
from keras.src.utils.naming import reset_uids
from keras.src.utils.rng_utils import GLOBAL_RANDOM_SEED

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


def configure_again(training: Mapping[str, Any]) -> None:
    """As `configure` after one for a job of the same graph, without what it takes TensorFlow's kernels: its own seed
    is of no use to Keras, which seeds each operation. Names are given out anew, too."""
    reset_uids()
    seed = training.get("seed")
    if seed is None:
        return
    global_state.set_global_attribute(GLOBAL_RANDOM_SEED, seed)
    global_state.set_global_attribute(GLOBAL_SEED_GENERATOR, None)
    random.seed(seed)
    np.random.seed(seed)
