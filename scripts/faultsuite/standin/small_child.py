"""In the place of the trainer: the same descriptors, messages, signals and files, and a training without Keras.

Its name says how a job behaves: `crash-…` dies in its first attempt, `dies-…` in each. What it does is noted beside
the state directory, in evidence/: a lock for its job and one for its device, which the kernel gives back when the
process ends, however it ends; a line for each start. They are proof of what has really run, whatever the store says.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import small_training

from gpujobs.failpoints import reach
from gpujobs.linux import title
from gpujobs.protocol.spec import DataFile
from gpujobs.protocol.training import Began, Failed, Said, Trained, line_of
from gpujobs.supervise.members import next_spec

EPOCH_SECONDS = 0.01
PR_SET_PDEATHSIG = 1


_HELD: dict[str, int] = {}
"""Descriptors of locks: of the job until it has ended, of the device until this process has."""


class Stopped(Exception):
    pass


def run_trainer(spec: Any, output: int, messages: int) -> NoReturn:
    code, supervisor = 1, os.getppid()
    try:
        for source, target in (
            (os.open(os.devnull, os.O_RDONLY), 0),
            (output, 1),
            (output, 2),
            (messages, 3),
        ):
            os.dup2(source, target)
        os.closerange(4, 256)
        _HELD.clear()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != supervisor:
            os._exit(1)
        _train(spec)
        code = 0
        while spec.may_stay:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            os.chdir("/")
            os.close(_HELD.pop("job"))
            spec = next_spec(3)
            code = 1
            reach("trainer.next")
            _train(spec)
            code = 0
    except Stopped:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    except BaseException as error:  # noqa: BLE001 - it must never return into the supervisor's code
        os.write(1, f"{error!r}\n".encode())
        _tell(Failed("TrainerCrashed", repr(error)))
    finally:
        os._exit(code)


def _train(spec: Any) -> None:
    os.chdir(spec.paths.work)
    title.set_title(f"gpujobs trainer: job {spec.job}")
    signal.signal(signal.SIGTERM, _stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    _note_what_runs(spec)
    _tell(Began())
    _run(spec)


def _stop(*_: Any) -> None:
    raise Stopped


def _tell(message: Said) -> None:
    os.write(3, line_of(message))


def _note_what_runs(spec: Any) -> None:
    evidence = Path(spec.job_dir).parents[2].parent / "evidence"
    evidence.mkdir(exist_ok=True)
    _line(evidence / "starts", f"{spec.job} {spec.attempt} {spec.nonce} {os.getpid()} {time.time()}")
    for kind, number in (("job", spec.job), ("device", spec.device.uuid)):
        if kind in _HELD:  # the device, from one job to the next
            continue
        what = f"{kind}-{number}"
        lock = _HELD[kind] = os.open(evidence / what, os.O_RDWR | os.O_CREAT)
        deadline = time.monotonic() + 1.0  # one that was killed may not have come to its end yet
        while not _locks(lock):
            if time.monotonic() > deadline:
                _line(evidence / "doubled", f"{what} at attempt {spec.job}.{spec.attempt}")
                break
            time.sleep(0.02)


def _locks(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _line(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text + "\n")


def _run(spec: Any) -> None:
    results, training = spec.paths.results, spec.jobfile["training"]
    if results.exists():
        for path in results.iterdir():
            path.unlink()
    results.mkdir(exist_ok=True)
    _read_data(spec.data)
    start = _checkpoint(spec.paths.checkpoint)
    epochs = int(training["epochs"])

    def after(weights: Any, rows: list[dict[str, float]]) -> None:
        time.sleep(EPOCH_SECONDS)
        _save(spec.paths.checkpoint, weights, rows)
        os.write(1, f"Epoch {len(rows)}/{epochs}\n".encode())
        _tell(Trained({"epoch": len(rows), "epochs": epochs, "loss": rows[-1]["loss"]}))
        is_crash = spec.name.startswith("dies") or (spec.name.startswith("crash") and spec.attempt == 1)
        if is_crash and len(rows) > 1:
            os.kill(os.getpid(), signal.SIGSEGV)

    predicted, rows = small_training.train(int(training["seed"]), epochs, *start, after)
    _write_results(results, spec, predicted, rows)


def _read_data(data: Mapping[str, DataFile]) -> None:
    for file in data.values():
        content = Path(file.path).read_bytes()
        if len(content) != file.bytes:
            raise ValueError(f"the data have {len(content)} bytes, not {file.bytes}")


def _checkpoint(directory: Path) -> tuple[Any, Any]:
    import numpy as np

    try:
        found = json.loads((directory / "small.json").read_text())
    except (OSError, ValueError):
        return None, None
    return np.array(found["weights"]), found["rows"]


def _save(directory: Path, weights: Any, rows: Any) -> None:
    """As the trainer with Keras: what cannot be written does not end the training, and what stands in the place of a
    checkpoint goes."""
    path, new = directory / "small.json", directory / "small.json.new"
    try:
        if not directory.is_dir():
            directory.unlink(missing_ok=True)
            directory.mkdir()
        if path.is_dir():
            shutil.rmtree(path)
        new.write_text(json.dumps({"weights": [float(one) for one in weights], "rows": rows}))
        new.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink()


def _write_results(results: Path, spec: Any, predicted: Any, rows: Any) -> None:
    import numpy as np

    np.savez(results / "predictions.npz", y_pred=predicted)
    lines = ["epoch,loss", *(f"{row['epoch']},{row['loss']!r}" for row in rows)]
    (results / "history.csv").write_text("\n".join(lines) + "\n")
    (results / "model.keras").write_bytes(b"small")
    (results / "attempt.json").write_text(
        json.dumps({"job": spec.job, "attempt": spec.attempt, "nonce": spec.nonce})
    )
    (results / "metrics.json").write_text(json.dumps({"loss": rows[-1]["loss"]}))
