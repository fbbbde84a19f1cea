"""TensorFlow reads the event file that is written without it, and checks its CRCs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gpujobs.trainer.tensorboard import crc32c, write_scalars

from .with_keras import python_with_keras

READ = """
import json, sys
import tensorflow as tf
events = [event for event in tf.compat.v1.train.summary_iterator(sys.argv[1])]
print(json.dumps({
    "version": events[0].file_version,
    "now": events[0].wall_time,
    "scalars": [[event.step, value.tag, value.simple_value] for event in events for value in event.summary.value],
}))
"""


def test_the_check_value_of_crc32c() -> None:
    """Of RFC 3720's polynomial, as the catalogue of CRC algorithms has it."""
    assert crc32c(b"123456789") == 0xE3069283


def test_tensorflow_reads_it(tmp_path: Path) -> None:
    rows = [{"epoch": epoch, "loss": 1.0 / (epoch + 1), "val_mae": 0.5} for epoch in (0, 1, 200)]
    write_scalars(tmp_path / "tensorboard", rows)
    (file,) = (tmp_path / "tensorboard").iterdir()
    done = python_with_keras(READ, file)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["version"] == "brain.Event:2"
    assert found["now"] == pytest.approx(file.stat().st_mtime, abs=60)
    expected = [
        [row["epoch"], f"epoch_{name}", pytest.approx(row[name])]
        for row in rows
        for name in ("loss", "val_mae")
    ]
    assert found["scalars"] == expected
