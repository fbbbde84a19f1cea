"""TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gpujobs.protocol.spec import AttemptSpec
from gpujobs.trainer import quiet
from gpujobs.trainer.backends.interface import is_gpu, require_one, visible_devices
from gpujobs.trainer.data.arrays import Batch

LAZY_MODULES: tuple[str, ...] = tuple(
    f"tensorflow.python.data.ops.{kind}_op"
    for kind in ("concatenate", "flat_map", "from_tensors", "range", "shuffle", "skip", "take", "zip")
)
"""A dataset's kind is imported when one is first made."""


def title() -> str:
    return f"TensorFlow {tf.__version__}"


def versions() -> dict[str, str]:
    return {"tensorflow": str(tf.__version__), "keras": str(keras.__version__), "numpy": str(np.__version__)}


def preload() -> None:
    _ = (tf.config.experimental.set_memory_growth, tf.function, tf.data.Dataset)


def device_environment(spec: AttemptSpec) -> dict[str, str]:
    return {
        **visible_devices(spec),
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "TF_CPP_MIN_LOG_LEVEL": "2" if is_gpu(spec) else "3",
    }


def take_device(spec: AttemptSpec) -> list[str]:
    if not is_gpu(spec):
        tf.config.threading.set_intra_op_parallelism_threads(spec.cpu_threads)
        tf.config.threading.set_inter_op_parallelism_threads(spec.cpu_threads)
        with quiet.without(quiet.CHATTER, quiet.NO_CUDA):  # that there is no GPU is no news on a CPU slot
            tf.config.set_visible_devices([], "GPU")
            tf.config.list_logical_devices()
        return []
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    seen = [str(gpu.name) for gpu in gpus]
    require_one(spec, "TensorFlow", seen)
    return seen


def make_deterministic() -> None:
    tf.config.experimental.enable_op_determinism()


def device_peak_bytes(spec: AttemptSpec) -> int | None:
    if not is_gpu(spec) or not tf.config.list_physical_devices("GPU"):
        return None
    return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])


class TensorFlowSteps:
    """Called with a few batches at a time: Keras then traces its step once and no outer loop around it, which
    saves a third of a small job's time, and a stop takes effect at once."""

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._train = model.make_train_function() or model.train_function
        self._test: Any = None

    def train(self, batches: Sequence[Batch]) -> Mapping[str, Any]:
        logs: Mapping[str, Any] = self._train(iter(batches))
        return logs

    def test(self, batch: Batch) -> None:
        if self._test is None:
            self._test = self._model.make_test_function() or self._model.test_function
        self._test(iter([batch]))


def steps(model: keras.Model) -> TensorFlowSteps:
    return TensorFlowSteps(model)


def predictor(model: keras.Model, calls: int) -> Callable[[Any], Any]:
    """A single batch is called directly: cheaper than tracing a function for it."""
    if calls <= 1:
        return lambda x: keras.tree.map_structure(np.asarray, model(x, training=False))
    step = model.make_predict_function() or model.predict_function
    return lambda x: keras.tree.map_structure(np.asarray, step([(x,)]))
