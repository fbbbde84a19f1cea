"""Imports everything that a trainer may import, so that a child who may not read the installation can train.

No operation, no listing of devices and no CUDA here: a fork would break.
"""

from __future__ import annotations

import codecs
import importlib
import os
import sys

from gpujobs.backends import JAX, TENSORFLOW

MODULES = (
    "numpy.random",
    "numpy.lib.format",
    "numpy.ma",
    "keras",
    "keras.src.saving.saving_lib",
    "h5py",
    "zipfile",
    "tempfile",
    "traceback",
    "yaml",
    "encodings.ascii",
    "encodings.cp437",
    "encodings.idna",
    "encodings.latin_1",
    "encodings.unicode_escape",
    "gpujobs.trainer.applying",
    "gpujobs.trainer.backends",
    "gpujobs.trainer.building",
    "gpujobs.trainer.checkpoint",
    "gpujobs.trainer.checking",
    "gpujobs.supervise.child",
    "_strptime",
    "csv",
    "pyarrow.csv",
    "pyarrow.pandas_compat",
    "pyarrow.vendored.version",
    "pyarrow.compute",
    "pyarrow.parquet",
    "gpujobs.results.pictures.confusion",
    "gpujobs.results.pictures.curves",
    "gpujobs.results.pictures.forecast",
    "gpujobs.results.pictures.warming",
    "gpujobs.trainer.data",
    "gpujobs.trainer.evaluation",
    "gpujobs.trainer.files",
    "gpujobs.trainer.kept",
    "gpujobs.trainer.training_loop",
    "gpujobs.supervise.inspection",
    "gpujobs.trainer.outputs",
    "gpujobs.trainer.early_stopping",
    "gpujobs.trainer.plain_model",
    "gpujobs.trainer.prediction",
    "gpujobs.trainer.quiet",
    "gpujobs.trainer.stateful",
    "gpujobs.supervise.supervision",
    "gpujobs.supervise.supervisor",
    "pydantic",
    "gpujobs.trainer.tensorboard",
    "gpujobs.trainer.train",
)


def load() -> None:
    hide_other_backends()
    for name in MODULES:
        importlib.import_module(name)
    import keras
    from PIL import Image

    from gpujobs import formats
    from gpujobs.jobfile.keras_names import catalogue
    from gpujobs.protocol import codec, records, spec, training
    from gpujobs.trainer import shelf
    from gpujobs.trainer.backends import active

    for name in active.LAZY_MODULES:
        importlib.import_module(name)
    active.preload()
    Image.preinit()  # what a picture's first writing would import
    catalogue()
    shelf.code()
    codec.warm((spec.AttemptSpec, *records.KINDS, *training.ORDERS.kinds))
    for name in formats.ENCODINGS:  # of csv files
        codecs.lookup(name)

    # Keras loads its parts when they are first named.
    for part in (
        keras.layers,
        keras.losses,
        keras.metrics,
        keras.optimizers,
        keras.initializers,
        keras.utils,
    ):
        dir(part)


def warm() -> None:
    """What takes a tenth of a second, and only makes the end of a job quicker: once nobody waits for the launcher."""
    from gpujobs.results.pictures import warming

    try:
        warming.warm()
    except Exception as error:  # noqa: BLE001 - a launcher without pictures still launches; each job says it again
        print(f"no picture could be drawn beforehand: {type(error).__name__}: {error}", file=sys.stderr)


def hide_other_backends() -> None:
    """Keras seeds TensorFlow too where it can import it, and TensorFlow's converter for telephones imports JAX where
    that lies beside it: seconds, and memory, for nothing. Here they cannot."""
    is_tensorflow = os.environ.get("KERAS_BACKEND", TENSORFLOW) == TENSORFLOW
    sys.modules[JAX if is_tensorflow else TENSORFLOW] = None  # type: ignore[assignment] # so that an import fails
