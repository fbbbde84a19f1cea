"""Imports everything that a trainer may import, so that a child who may not read the installation can train.

No TensorFlow operation, no listing of devices and no CUDA here: a fork would break.
"""

from __future__ import annotations

import importlib

LAZY_DATASETS = ("concatenate", "flat_map", "from_tensors", "range", "shuffle", "skip", "take", "zip")
"""TensorFlow imports a dataset's kind when one is first made."""

MODULES = (
    "numpy.random",
    "numpy.lib.format",
    "numpy.ma",
    "tensorflow",
    "keras",
    "keras.src.saving.saving_lib",
    "h5py",
    "zipfile",
    "tempfile",
    "traceback",
    *(f"tensorflow.python.data.ops.{name}_op" for name in LAZY_DATASETS),
    "yaml",
    "encodings.ascii",
    "encodings.cp437",
    "encodings.idna",
    "encodings.latin_1",
    "encodings.unicode_escape",
    "gpujobs.trainer.applying",
    "gpujobs.trainer.backend",
    "gpujobs.trainer.building",
    "gpujobs.trainer.checkpoint",
    "gpujobs.trainer.child",
    "pyarrow.csv",
    "pyarrow.compute",
    "pyarrow.parquet",
    "gpujobs.trainer.data",
    "gpujobs.trainer.evaluation",
    "gpujobs.trainer.files",
    "gpujobs.trainer.fitting",
    "gpujobs.trainer.inspect",
    "gpujobs.trainer.outputs",
    "gpujobs.trainer.patience",
    "gpujobs.trainer.plain_model",
    "gpujobs.trainer.prediction",
    "gpujobs.trainer.quiet",
    "gpujobs.trainer.stateful",
    "gpujobs.trainer.supervisor",
    "gpujobs.trainer.train",
)


def load() -> None:
    for name in MODULES:
        importlib.import_module(name)
    import keras
    import tensorflow as tf

    from gpujobs.jobfile.keras_names import catalogue

    catalogue()

    # Both packages load their parts when they are first named.
    for part in (
        keras.layers,
        keras.losses,
        keras.metrics,
        keras.optimizers,
        keras.initializers,
        keras.utils,
    ):
        dir(part)
    _ = (
        tf.compat.v1.Event,
        tf.io.TFRecordWriter,
        tf.config.experimental.set_memory_growth,
        tf.function,
        tf.data.Dataset,
    )
