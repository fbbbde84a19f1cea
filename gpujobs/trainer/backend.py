"""What belongs to the backend, TensorFlow: choice of the device, memory growth, versions, determinism."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gpujobs.trainer import quiet
from gpujobs.trainer.failures import DeviceMismatchError
from gpujobs.trainer.spec import Spec


def versions() -> dict[str, str]:
    return {"tensorflow": str(tf.__version__), "keras": str(keras.__version__), "numpy": str(np.__version__)}


def device_environment(spec: Spec) -> dict[str, str]:
    """The variables that make one GPU visible, or none. They must be set before the first operation."""
    gpu = spec.device.get("kind") == "gpu"
    return {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": str(spec.device["uuid"]) if gpu else "-1",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "TF_CPP_MIN_LOG_LEVEL": "2" if gpu else "3",
    }


def take_device(spec: Spec) -> list[str]:
    """Configures the device and returns what TensorFlow sees of it. Raises DeviceMismatchError."""
    if spec.device.get("kind") != "gpu":
        tf.config.threading.set_intra_op_parallelism_threads(spec.cpu_threads)
        tf.config.threading.set_inter_op_parallelism_threads(spec.cpu_threads)
        with quiet.without(quiet.CHATTER, quiet.NO_CUDA):  # that there is no GPU is no news on a CPU slot
            tf.config.set_visible_devices([], "GPU")
            tf.config.list_logical_devices()
        return []
    seen = tf.config.list_physical_devices("GPU")
    for gpu in seen:
        tf.config.experimental.set_memory_growth(gpu, True)
    if spec.require_gpu and len(seen) != 1:
        raise DeviceMismatchError(
            f"TensorFlow sees {len(seen)} GPUs ({', '.join(gpu.name for gpu in seen) or 'none'}); expected "
            f"exactly one, {spec.device['uuid']}. Check with `gpujobs doctor` the driver and "
            "TensorFlow's CUDA libraries."
        )
    return [str(gpu.name) for gpu in seen]


def configure(training: Mapping[str, Any]) -> None:
    """Seeds everything, makes operations repeatable, and sets the precision of layers that say none."""
    if training.get("seed") is not None:
        keras.utils.set_random_seed(training["seed"])
        if training.get("deterministic", True):
            tf.config.experimental.enable_op_determinism()
    keras.config.set_dtype_policy(training.get("precision") or "float32")


def device_peak_bytes(spec: Spec) -> int | None:
    """TensorFlow's peak of memory in use on its GPU; None on a CPU slot."""
    if spec.device.get("kind") != "gpu" or not tf.config.list_physical_devices("GPU"):
        return None
    return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])


def write_scalars(directory: str, rows: list[dict[str, float]]) -> None:
    """TensorBoard's event file: one scalar per metric and epoch.

    Written as records: `tf.summary.scalar` needs the tensorboard package, and runs an operation for each.
    """
    Path(directory).mkdir()
    event, summary = tf.compat.v1.Event, tf.compat.v1.Summary
    with tf.io.TFRecordWriter(f"{directory}/events.out.tfevents.{int(time.time())}.gpujobs") as writer:
        writer.write(event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
        for row in rows:
            values = [
                summary.Value(tag=f"epoch_{name}", simple_value=value)
                for name, value in row.items()
                if name != "epoch"
            ]
            record = event(wall_time=time.time(), step=int(row["epoch"]), summary=summary(value=values))
            writer.write(record.SerializeToString())
