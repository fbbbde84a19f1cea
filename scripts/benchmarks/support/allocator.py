"""The most memory that TensorFlow held for tensors while a job trained, as its own allocator counts it.

`python -m benchmarks.support.allocator FILE…` prints a JSON line for each job of these job files. TensorFlow's CPU
allocator keeps the figures that `tf.config.experimental.get_memory_info` shows of a GPU, once
`tsl::EnableCPUAllocatorStats` is called; Python has no name for that, so it is called in the library, with
block_size.c loaded before it. Each training is in a process of its own, forked before TensorFlow's first operation,
so that nothing is held before it; every other one has two threads, for which operations race.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.support.specs import spec_of
from gpujobs.jobfile import expand
from gpujobs.protocol.spec import AttemptSpec
from gpujobs.supervise import preload
from gpujobs.trainer import quiet

EPOCHS = 3
"""Enough: the peak is within a step, and the first one makes all variables. At least."""

STEPS = 40
"""At least, since steps differ: TensorFlow runs the operations of a step in whichever order they are ready."""

ENABLE = "_ZN3tsl23EnableCPUAllocatorStatsEv"


def main() -> None:
    repeat, *files = sys.argv[1:]
    os.environ.update(CUDA_VISIBLE_DEVICES="-1", TF_CPP_MIN_LOG_LEVEL="3")
    with quiet.without(quiet.CHATTER):
        preload.load()
    for file in files:
        for spec in specs(Path(file)):
            estimate = in_child(lambda spec=spec: estimated(spec))  # type: ignore[misc]
            runs = [replace(spec, cpu_threads=1 + number % 2) for number in range(int(repeat))]
            peaks = [in_child(lambda run=run: trained(run)) for run in runs]  # type: ignore[misc]
            found = {"name": spec.name, "estimate": estimate, "peaks": peaks}
            print(json.dumps(found), flush=True)


def specs(file: Path) -> Iterator[AttemptSpec]:
    """Of each job that a file makes."""
    for number, job in enumerate(expand(str(file), file.read_text())):
        scratch = Path(os.environ["TMPDIR"]) / f"{file.stem}-{number}"
        (scratch / "work").mkdir(parents=True, exist_ok=True)
        yield replace(spec_of(job, file.parent, scratch), name=job.name)


def estimated(spec: AttemptSpec) -> Any:
    from gpujobs.trainer import checking

    return checking.report(spec, values=False)["memory"]


def trained(spec: AttemptSpec) -> int:
    """Trains for a few epochs. Returns the most bytes that were held."""
    import tensorflow as tf

    from gpujobs.trainer import backends, building, traced, train, training_loop
    from gpujobs.trainer.data import prepare

    library = Path(tf.__file__).with_name("libtensorflow_framework.so.2")
    enable: Callable[[], None] = ctypes.CDLL(str(library))[ENABLE]
    enable()
    backends.active.take_device(spec)
    prepared = prepare(spec)
    per_epoch = -(-len(prepared.train.samples) // int(spec.jobfile["training"]["batch_size"]))
    spec = replace(spec, jobfile=shortened(spec.jobfile, max(EPOCHS, -(-STEPS // per_epoch))))
    backends.configure(spec.jobfile["training"])
    model = building.build(spec.jobfile, train.shapes(prepared.train), masked=train.is_masked(prepared))
    sets = train.sets_of(spec, prepared, model)
    messages = training_loop.Messages(os.open(os.devnull, os.O_WRONLY))
    training_loop.TrainingLoop(
        spec, traced.Traced(model, spec.jobfile), sets, messages, training_loop.StopFlag()
    ).run()
    return int(tf.config.experimental.get_memory_info("CPU:0")["peak"])


def shortened(jobfile: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """The same job with fewer epochs."""
    training = {**jobfile["training"], "epochs": min(epochs, int(jobfile["training"]["epochs"]))}
    return {**jobfile, "training": training}


def in_child(work: Callable[[], Any]) -> Any:
    """Raises RuntimeError where the child fails; its errors are on standard error."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.write(writer, json.dumps(work()).encode())
            code = 0
        except BaseException:  # noqa: BLE001 - a child must never return into the caller's code
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    if os.waitpid(pid, 0)[1]:
        raise RuntimeError("the training, or the estimate, failed")
    return json.loads(text)


if __name__ == "__main__":
    main()
