"""Trains jobs one after the other in one process, as a resident trainer does, and tells what each of them left.

As a program it reads a line of JSON for each process that it is to fork off, a list of paths of specs, and answers
for each of them with what it took. It has imported all that a trainer may import, and run nothing.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import re
import subprocess
import sys
import time
import traceback
import zipfile
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from gpujobs.paths import JobPaths
from gpujobs.protocol import codec
from gpujobs.protocol.spec import AttemptSpec
from tests.specs import attempt_spec, data_file

OF_A_RUN = re.compile(
    "Preparing batches took|Advice:|[EWI][0-9]{4} |WARNING: All log|To enable the following"
)
"""How lines begin that say how long something took, or that TensorFlow's C++ writes."""

STOP = "stop"
"""A file in a job's directory: it is stopped after its first batch, and leaves a checkpoint."""

INSTALLATION = Path(__file__).parents[3]
OF_TIME = ("start_seconds", "train_seconds", "predict_seconds", "queue_seconds", "data_share", "advice",
           "peak_memory_bytes", "device_peak_memory_bytes")  # fmt: skip
"""What of metrics.json differs from one run to the next."""


UNOPTIMIZED = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
"""Where the speed of JAX is not what is shown: to have XLA optimize a step takes half of a short training's time."""


class Trainers:
    """A process that forks trainers off, and the directories of their jobs below `root`."""

    def __init__(self, root: Path, backend: str = "tensorflow") -> None:
        self._root, self._backend, self._jobs = root, backend, 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **UNOPTIMIZED, "KERAS_BACKEND": backend, "PYTHONPATH": str(INSTALLATION)},
        )

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        assert self._process.wait(30) == 0
        self._process.stdout.close()

    def spec(self, resolved: Mapping[str, Any], data: Mapping[str, Path], **fields: Any) -> Path:
        """The spec's file, of a new job. `data`: by the paths that the job file names."""
        self._jobs += 1
        paths = JobPaths(self._root / "jobs" / str(self._jobs))
        (paths.work / "tmp").mkdir(parents=True)
        files = {name: data_file(path, _sha256(path)) for name, path in data.items()}
        whole = {
            "jobfile": resolved,
            "data": files,
            "job_dir": paths.root,
            "backend": self._backend,
            **fields,
        }
        file = paths.root / "spec.json"
        file.write_bytes(codec.encode(attempt_spec(**whole)))
        return file

    def train(self, specs: Sequence[Path]) -> list[dict[str, Any]]:
        """In one process, one after the other. What it says of each: `seconds`, `traces`, and `error`."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(path) for path in specs]).encode() + b"\n")
        self._process.stdin.flush()
        return [json.loads(self._process.stdout.readline()) for _ in specs]


def left(spec: Path) -> dict[str, Any]:
    """All that a job has left, to be compared: what is of time and place is not in it."""
    paths = JobPaths(spec.parent)
    found: dict[str, Any] = {"log": _plain((paths.root / "log.txt").read_text(), paths.root)}
    for path in sorted(paths.results.rglob("*")):
        if path.is_file() and "tensorboard" not in path.parts and path.suffix != ".png":
            found[path.name] = _content(path, paths.root)
    return found


def _content(path: Path, root: Path) -> Any:
    if path.suffix == ".keras":
        return _archive(path.read_bytes(), ("metadata.json",))
    if path.suffix == ".npz":
        return _archive(path.read_bytes(), ())
    if path.name == "metrics.json":
        return {key: value for key, value in json.loads(path.read_text()).items() if key not in OF_TIME}
    return _plain(path.read_text(), root)


def _archive(content: bytes, but: Sequence[str]) -> dict[str, Any]:
    with zipfile.ZipFile(BytesIO(content)) as archive:
        return {name: _member(name, archive.read(name)) for name in archive.namelist() if name not in but}


def _member(name: str, content: bytes) -> Any:
    if name == "config.json":  # Keras writes addresses of objects into it
        return re.sub(rb'"shared_object_id": \d+', b"", content)
    if not name.endswith(".h5"):
        return content
    import h5py

    found: dict[str, Any] = {}
    with h5py.File(BytesIO(content)) as file:
        file.visititems(
            lambda key, one: found.update({key: one[()].tobytes()}) if isinstance(one, h5py.Dataset) else None
        )
    return found


def _plain(text: str, root: Path) -> str:
    """Without the job's own directory, and how long it took."""
    lines = text.replace(str(root), "").splitlines()
    return "\n".join(line for line in lines if not OF_A_RUN.match(line))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _train(paths: Sequence[Path], answers: int) -> None:
    from gpujobs.trainer import kept, train, training_loop
    from gpujobs.trainer.backends import active as backend
    from gpujobs.trainer.data import notices

    whole, traces, nowhere = kept.Kept(), Traces(), os.open(os.devnull, os.O_WRONLY)
    for number, path in enumerate(paths):
        spec, log = codec.parse(AttemptSpec, path.read_bytes()), path.parent / "log.txt"
        _into(log)
        os.chdir(spec.paths.work)
        before, began, used, error = traces.count, time.monotonic(), time.process_time(), ""
        try:
            if number:
                whole.anew()
            else:
                os.environ.update(backend.device_environment(spec))
            backend.take_device(spec)
            stop = _stopping() if (path.parent / STOP).exists() else training_loop.StopFlag()
            with notices.once():
                train.run(spec, training_loop.Messages(nowhere), stop, whole)
        except BaseException as reason:  # noqa: BLE001 - told to who compares
            error = repr(reason)
            traceback.print_exc()
        whole.hand_down()
        sys.stdout.flush()
        told = {
            "seconds": time.monotonic() - began,
            "cpu_seconds": time.process_time() - used,
            "traces": traces.count - before,
            "error": error,
            "descriptors": sorted(map(_name, Path("/proc/self/fd").iterdir())),
        }
        os.write(answers, json.dumps(told).encode() + b"\n")


def _stopping() -> Any:
    """A flag that is set once the training has been begun."""
    from gpujobs.trainer.training_loop import StopFlag

    class Stopping(StopFlag):
        def check(self) -> None:
            super().check()
            self.is_set = True

    return Stopping()


class Traces:
    """How many functions TensorFlow has traced in this process: how often it has added to its own counter of the time
    that this takes. Always 0 where it is not loaded."""

    def __init__(self) -> None:
        self.count = 0
        if sys.modules.get("tensorflow") is not None:
            from tensorflow.python.eager.polymorphic_function import tracing_compilation

            self._counter = tracing_compilation._graph_building_time_counter
            tracing_compilation._graph_building_time_counter = self

    def get_cell(self) -> Any:
        self.count += 1
        return self._counter.get_cell()


def _name(descriptor: Path) -> str:
    """Of what is open there; empty of what was opened to look."""
    return str(descriptor.readlink()) if descriptor.is_symlink() else ""


def _into(log: Path) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def main() -> None:
    from gpujobs.supervise import preload

    preload.load()
    gc.collect()
    gc.freeze()  # as the launcher does, since looking through it all takes a fifth of a training
    for line in sys.stdin:
        if child := os.fork():
            os.waitpid(child, 0)
            continue
        try:
            _train([Path(one) for one in json.loads(line)], os.dup(1))
        finally:
            os._exit(0)


if __name__ == "__main__":
    main()
