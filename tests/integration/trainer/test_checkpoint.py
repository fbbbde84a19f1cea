"""Checkpoints on a real disk, of real models: which of them is used, and what is never lost."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpujobs.linux import durable
from gpujobs.paths import JobPaths
from tests.specs import attempt_spec

from .conftest import Launched, ended, tutorial
from .resuming import SAMPLES, history, kill_when_saved, random_arrays, same, weights


def model_of(units: int = 3) -> Any:
    import keras

    keras.utils.set_random_seed(units)
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(units)])
    model.compile(loss="mse", optimizer=keras.optimizers.Adam())
    model.optimizer.build(model.trainable_variables)
    return model


def saved(directory: Path, *values: float) -> Any:
    """A model whose weights were all of these values, one after the other, each with a checkpoint."""
    from gpujobs.trainer import checkpoint

    model = model_of()
    for count, value in enumerate(values, 1):
        model.set_weights([np.full_like(weight, value) for weight in model.get_weights()])
        checkpoint.save(directory, model, checkpoint.Position([{"loss": value}] * count))
    return model


def restored(directory: Path) -> tuple[float | None, list[str]]:
    """The value of the weights that are found again, and what was said."""
    from gpujobs.trainer import checkpoint

    said: list[str] = []
    model = model_of()
    found = checkpoint.load(directory, model, said.append)
    if found is None:
        return None, said
    position = checkpoint.put_back(found, model)
    assert position.rows[-1]["loss"] == model.get_weights()[0].flat[0]
    return float(model.get_weights()[0].flat[0]), said


def flip(path: Path) -> None:
    """One bit of the first array: it begins 154 bytes after the name of its member."""
    content = bytearray(path.read_bytes())
    content[content.index(b"v0.npy") + 160] ^= 1
    path.write_bytes(content)


def directory_instead(path: Path) -> None:
    path.unlink()
    (path / "x").mkdir(parents=True)


def of_another_shape(path: Path) -> None:
    from gpujobs.trainer import checkpoint

    other = path.parent / "other"
    checkpoint.save(other, model_of(units=5), checkpoint.Position([{"loss": 1.0}]))
    shutil.move(other / checkpoint.FILE, path)
    other.rmdir()


def without_position(path: Path) -> None:
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files if name != "state"}
    np.savez(path, **arrays)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a flipped bit": flip,
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: os.truncate(path, 0),
    "zeros, as after a power failure": lambda path: path.write_bytes(b"\0" * path.stat().st_size),
    "a directory": directory_instead,
    "another shape": of_another_shape,
    "no position": without_position,
    "a link to nowhere": lambda path: (path.unlink(), path.symlink_to("nowhere")),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_the_one_before_is_used_where_the_last_is_damaged(tmp_path: Path, kind: str) -> None:
    saved(tmp_path, 1.0, 2.0)
    DAMAGE[kind](tmp_path / "checkpoint.npz")
    value, said = restored(tmp_path)
    assert value == 1.0
    assert len(said) == 1 and "checkpoint.npz cannot be used" in said[0] and "the one before it" in said[0]
    assert restored(tmp_path) == (1.0, []), "what is damaged is set aside, and said once"


@pytest.mark.parametrize("kind", DAMAGE)
def test_the_training_begins_anew_where_both_are_damaged(tmp_path: Path, kind: str) -> None:
    saved(tmp_path, 1.0, 2.0)
    DAMAGE[kind](tmp_path / "checkpoint-older.npz")
    DAMAGE[kind](tmp_path / "checkpoint.npz")
    value, said = restored(tmp_path)
    assert value is None and len(said) == 2 and said[1].endswith("the training starts from the beginning")
    saved(tmp_path, 3.0, 4.0)
    assert restored(tmp_path) == (4.0, [])


@pytest.mark.parametrize("kind", ["a directory", "a link to nowhere"])
@pytest.mark.parametrize("name", ["checkpoint.npz", "checkpoint-older.npz", "checkpoint.npz.tmp"])
def test_whatever_is_in_its_place_a_checkpoint_can_be_written(tmp_path: Path, kind: str, name: str) -> None:
    saved(tmp_path, 1.0, 2.0)
    (tmp_path / name).touch()
    DAMAGE[kind](tmp_path / name)
    saved(tmp_path, 5.0)
    assert restored(tmp_path) == (5.0, [])


def test_weights_that_are_not_numbers_replace_no_checkpoint(tmp_path: Path) -> None:
    from gpujobs.trainer import checkpoint
    from gpujobs.trainer.failures import NanLossError

    model = saved(tmp_path, 1.0, 2.0)
    for bad in (np.nan, np.inf):
        model.set_weights([np.full_like(weight, bad) for weight in model.get_weights()])
        with pytest.raises(NanLossError):
            checkpoint.save(tmp_path, model, checkpoint.Position())
    assert restored(tmp_path) == (2.0, [])


def test_a_write_that_fails_leaves_both_as_they_were(tmp_path: Path) -> None:
    """The kernel refuses to let a file grow, as a full disk does; nothing half-written is left."""
    model = saved(tmp_path, 1.0, 2.0)
    from gpujobs.trainer import checkpoint

    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, hard))
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
            checkpoint.save(tmp_path, model, checkpoint.Position())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_failed_fsync_leaves_both_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gpujobs.trainer import checkpoint

    model = saved(tmp_path, 1.0, 2.0)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fails(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        checkpoint.save(tmp_path, model, checkpoint.Position())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_file_and_directory_are_on_disk_in_this_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is renamed was synced before, and the directory after that."""
    saved(tmp_path, 1.0)
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        done.append(f"fsync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        fsync(descriptor)

    def noted_replace(self: Path, target: Path) -> Path:
        done.append(f"rename {target.name}")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    saved(tmp_path, 2.0)
    names = ["fsync checkpoint.npz.tmp", "rename checkpoint-older.npz", "rename checkpoint.npz"]
    assert done == [*names, f"fsync {tmp_path.name}"]


def test_a_requeued_job_takes_over_the_first_checkpoints_there_are(tmp_path: Path) -> None:
    from gpujobs.trainer import checkpoint

    never, first, own = tmp_path / "never", tmp_path / "first", tmp_path / "own"
    saved(first, 1.0, 2.0)
    checkpoint.inherit(own, [never, first])
    flip(own / "checkpoint.npz")
    assert restored(own)[0] == 1.0, "both were taken over"
    assert restored(first) == (2.0, [])
    checkpoint.inherit(own, [first])
    assert restored(own)[0] == 1.0, "its own come first"


def test_a_checkpoint_that_cannot_be_taken_over_is_said_and_does_not_end_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from gpujobs.trainer import train, training_loop

    def fails(source: Path, target: Path) -> None:
        raise OSError(5, "Input/output error")

    saved(tmp_path / "first", 1.0)
    monkeypatch.setattr(durable, "copy", fails)
    reader, writer = os.pipe()
    spec = attempt_spec(job_dir=tmp_path / "own", checkpoint_from=(str(tmp_path / "first"),))
    spec.paths.work.mkdir(parents=True)
    train.begin_from(spec, training_loop.Messages(writer))
    os.close(writer)
    with os.fdopen(reader, "rb") as heard:
        assert json.loads(heard.read())["event"] == "warning"
    assert "could not be taken over: Input/output error" in capsys.readouterr().out


def test_a_job_goes_on_where_its_checkpoints_are_damaged_and_says_so(launcher: Launched) -> None:
    """Ended with the weights of an undisturbed twin, from the older checkpoint and from the start."""
    job = tutorial(epochs=4, units=4, batch_size=2)
    whole = launcher.spec(job, random_arrays(SAMPLES))
    assert ended(launcher.start(whole))["state"] == "COMPLETED"
    for names in (["checkpoint.npz"], ["checkpoint.npz", "checkpoint-older.npz"]):
        cut = launcher.spec(job, random_arrays(SAMPLES))
        directory = JobPaths(Path(cut["job_dir"])).checkpoint
        with launcher.paced():
            kill_when_saved(launcher.start(cut), directory / "checkpoint.npz")
        shutil.copy(directory / "checkpoint.npz", directory / "checkpoint-older.npz")
        for name in names:
            flip(directory / name)
        again = launcher.start({**cut, "attempt": 2})
        assert ended(again)["state"] == "COMPLETED", again.log.read_text()
        log = again.log.read_text()
        assert log.count("cannot be used: it is damaged") == len(names)
        assert ("Resuming after" in log) == (len(names) == 1)
        assert same(weights(cut), weights(whole)) and history(cut) == history(whole)


def test_a_checkpoint_that_cannot_be_written_does_not_end_the_training(launcher: Launched) -> None:
    job = tutorial(epochs=4, units=4, batch_size=2)
    spec = launcher.spec(job, random_arrays(SAMPLES))
    paths = JobPaths(Path(spec["job_dir"]))
    paths.checkpoint.symlink_to("/proc")  # where nobody can write, root neither
    with launcher.paced():
        attempt = launcher.start(spec)
        assert ended(attempt)["state"] == "COMPLETED", attempt.log.read_text()
    log = attempt.log.read_text()
    assert log.count("the checkpoint could not be written") == 1, log
    assert json.loads((paths.results / "metrics.json").read_text())["final"]


def test_a_job_that_is_to_begin_anew_does(launcher: Launched) -> None:
    job = tutorial(epochs=4, units=4, batch_size=2)
    cut = launcher.spec(job, random_arrays(SAMPLES))
    with launcher.paced():
        kill_when_saved(launcher.start(cut), JobPaths(Path(cut["job_dir"])).checkpoint / "checkpoint.npz")
    again = launcher.start({**cut, "attempt": 2, "begins_anew": True})
    assert ended(again)["state"] == "COMPLETED"
    assert "Resuming after" not in again.log.read_text()


@pytest.mark.parametrize("point", ["write", "older", "rename"])
def test_wherever_a_write_ends_the_last_good_one_is_found(tmp_path: Path, point: str) -> None:
    from gpujobs import failpoints
    from gpujobs.trainer import checkpoint

    model = saved(tmp_path, 1.0, 2.0)
    failpoints.arm(f"checkpoint.{point}=error:EIO")
    try:
        with pytest.raises(OSError, match="Input/output error"):
            checkpoint.save(tmp_path, model, checkpoint.Position())
    finally:
        failpoints.arm("")
    assert restored(tmp_path) == (2.0, [])
    assert not list(tmp_path.glob("*.tmp"))
