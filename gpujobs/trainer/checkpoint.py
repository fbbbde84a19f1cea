"""Checkpoints that resume exactly, within an epoch too: every variable and the position, in one file.

The last two are kept. Each is an npz archive, so that every array in it has a CRC-32, which zlib computes while
the array is written (more than 1 GB/s, a tenth of what writing and fsync take) and which is compared while it
is read: a second pass with a longer hash would find nothing more of what disks and power failures do. An archive
is used whole or not at all: it is read and compared with the model before the first variable is changed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from gpujobs.failpoints import reach
from gpujobs.linux import durable
from gpujobs.trainer.backends.states import states_of, untracked_of
from gpujobs.trainer.failures import NanLossError

FILE = "checkpoint.npz"
OLDER = "checkpoint-older.npz"
"""The one before it, for when that is damaged."""

DAMAGED = ".damaged"
"""Ends the name of one that could not be used: kept for whoever wants to look at it, until the next such one."""


@dataclass(slots=True)
class Position:
    """How far a training is: a row of metrics for each whole epoch, and the batches done in the next one.

    `best`: the weights of the best epoch so far, in the order of `model.weights`, where they are wanted.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    batch: int = 0
    best: list[Any] | None = None


class DamagedError(Exception):
    """A checkpoint that cannot be used; the text says what is wrong with it."""


def variables(model: keras.Model) -> list[Any]:
    """All variables, those of seeds, states, optimizer and metrics too; the same order for the same job file.

    The metrics' exist once a step has run.
    """
    return only_once([*model.variables, *of_training(model)])


def of_training(model: keras.Model) -> list[Any]:
    """Those that a model has while it is trained only. Keras does not count a stateful layer's states among a model's
    own."""
    optimizer = model.optimizer
    states = [state for _, state in states_of(model)]
    return only_once([*states, *optimizer.variables, *model.metrics_variables, *untracked_of(optimizer)])


def only_once(found: Sequence[Any]) -> list[Any]:
    return list({id(variable): variable for variable in found}.values())


def exists(directory: Path) -> bool:
    return any(os.path.lexists(directory / name) for name in (FILE, OLDER))


def clear(directory: Path) -> None:
    """Nothing is left to go on from."""
    for path in (directory / FILE, directory / OLDER):
        _remove(path)
    if directory.is_dir():
        durable.sync_directory(directory)


def inherit(directory: Path, origins: Sequence[Path]) -> None:
    """Takes over the checkpoints of the first of these earlier jobs that has one, where this one has none of its
    own yet."""
    origin = next((one for one in origins if exists(one)), None)
    if exists(directory) or origin is None:
        return
    _make(directory)
    # The newest last: a job that is killed in between has the older one at least.
    for name in (OLDER, FILE):
        if (origin / name).is_file():
            reach("checkpoint.inherit")
            durable.copy(origin / name, directory / name)


def save(directory: Path, model: keras.Model, position: Position) -> None:
    """Puts a new checkpoint in the place of the last, which becomes the older one, atomically and durably.

    Raises NanLossError where a weight is NaN, and OSError where it cannot be written, on a full disk for example:
    both are kept then. After a failed fsync the file is not tried again, since what the kernel then says of it
    cannot be believed; the next checkpoint is a new file.
    """
    arrays = {f"v{index}": np.asarray(variable) for index, variable in enumerate(variables(model))}
    if not all(np.isfinite(np.asarray(weight, np.float32)).all() for weight in model.weights):
        raise NanLossError("the weights became NaN or infinite")
    arrays |= {f"best{index}": weight for index, weight in enumerate(position.best or ())}
    state = json.dumps({"rows": position.rows, "batch": position.batch})
    _make(directory)
    temporary = directory / f"{FILE}.tmp"
    _remove_other(temporary)
    try:
        with temporary.open("wb") as file:
            reach("checkpoint.write")
            np.savez(file, state=np.array(state), **arrays)  # type: ignore[arg-type]  # the stubs take any keyword for allow_pickle
            file.flush()
            os.fsync(file.fileno())
        reach("checkpoint.older")
        _keep_older(directory)
        reach("checkpoint.rename")
        temporary.replace(directory / FILE)
    except OSError:
        temporary.unlink(missing_ok=True)  # what it takes of a full disk others need
        raise
    durable.sync_directory(directory)


def _keep_older(directory: Path) -> None:
    """Whatever is in the place of a checkpoint and is no file must not end the training."""
    current, older = directory / FILE, directory / OLDER
    _remove_other(current)
    _remove_other(older)
    if current.exists():
        current.replace(older)


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint that was read whole: nothing in it is damaged, and its weights have the model's shapes."""

    path: Path
    values: list[Any]
    position: Position


def load(directory: Path, model: keras.Model, say: Callable[[str], None]) -> Saved | None:
    """The newest checkpoint that is whole and of this model; None where there is none. `say` is told what could
    not be used and why; that is set aside, so that it never takes the place of a good one."""
    for name, next_best in ((FILE, "the one before it is used"), (OLDER, "there is no other")):
        path = directory / name
        try:
            if os.path.lexists(path):
                return _read(path, model)
        except DamagedError as error:
            _set_aside(path)
            has_next = exists(directory)
            then = next_best if has_next else "the training starts from the beginning"
            say(f"the checkpoint {name} cannot be used: {error}; {then}")
    return None


def put_back(saved: Saved, model: keras.Model) -> Position:
    """Puts the variables back. A step must have run before, so that all of them exist. Raises DamagedError, with
    the checkpoint set aside and no variable changed, where it is of another optimizer or other metrics."""
    expected = variables(model)
    try:
        _require_shapes(saved.values, [variable.shape for variable in expected])
    except DamagedError:
        _set_aside(saved.path)
        raise
    for variable, value in zip(expected, saved.values, strict=True):
        variable.assign(value)
    return saved.position


def _read(path: Path, model: keras.Model) -> Saved:
    """Raises DamagedError."""
    if not path.is_file():  # opening a pipe would wait for somebody to write into it
        raise DamagedError("it is a directory" if path.is_dir() else "it is not a regular file")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            values = _series(archive, "v")
            best = _series(archive, "best") or None
            state = json.loads(str(archive["state"]))
            position = Position(list(state["rows"]), int(state["batch"]), best)
    except Exception as error:
        raise DamagedError(_words(path, error)) from error
    _require_shapes(values[: len(model.variables)], [variable.shape for variable in model.variables])
    if best is not None:
        _require_shapes(best, [weight.shape for weight in model.weights])
    return Saved(path, values, position)


def _series(archive: Any, prefix: str) -> list[Any]:
    """The arrays `prefix`0, `prefix`1, ...; reading one compares its CRC-32."""
    count = sum(name.rstrip("0123456789") == prefix for name in archive.files)
    return [archive[f"{prefix}{index}"] for index in range(count)]


def _require_shapes(found: Sequence[Any], expected: Sequence[Any]) -> None:
    if len(found) != len(expected):
        raise DamagedError(f"it has {len(found)} arrays where the model of this job has {len(expected)}")
    for index, (value, shape) in enumerate(zip(found, expected, strict=True)):
        if tuple(value.shape) != tuple(shape):
            raise DamagedError(
                f"its array {index} has the shape {tuple(value.shape)}, that of this job's model {tuple(shape)}"
            )


def _words(path: Path, error: Exception) -> str:
    if path.stat().st_size == 0:
        return "it is empty"
    return f"it is damaged ({type(error).__name__}: {error})"


def _set_aside(path: Path) -> None:
    aside = path.with_name(path.name + DAMAGED)
    _remove(aside)
    path.replace(aside)


def _make(directory: Path) -> None:
    if not directory.is_dir():
        _remove(directory)
        directory.mkdir(mode=0o700)
        durable.sync_directory(directory.parent)


def _remove_other(path: Path) -> None:
    """What is there and is no regular file."""
    if path.is_symlink() or not path.is_file():
        _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
