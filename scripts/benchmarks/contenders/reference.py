"""The references, in a process that has TensorFlow imported: `python -m benchmarks.contenders.reference KIND …`.

It says `ready`, waits for a line, runs all jobs, two (or as many as there are slots) at once, and says `done`.
`fresh` forks a process for each job, which builds, traces, fits, predicts and saves. `limit` forks one for each
slot, which builds and traces a model beforehand, and then only fits, predicts and saves. `resident` forks one for each
slot, too, which before each job sets all variables as they were when the model was built, and trains in a loop of its
own.
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.support.batch import Batch
from benchmarks.support.machine import ROOT


@contextmanager
def reference(kind: str, batch: Batch) -> Iterator[Callable[[], None]]:
    command = [sys.executable, "-m", "benchmarks.contenders.reference", kind, str(batch.directory)]
    command += [str(number) for number in (batch.jobs, batch.slots, batch.threads)] + [batch.shape]
    with subprocess.Popen(
        command,
        cwd=ROOT / "scripts",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None

        def expect(word: str) -> None:
            assert process.stdout is not None
            line = process.stdout.readline().strip()
            if line != word:
                raise RuntimeError(f"the {kind} reference said {line!r}, not {word!r}")

        def run() -> None:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
            expect("done")

        expect("ready")
        yield run
        process.stdin.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("fresh", "limit", "resident"))
    parser.add_argument("directory", type=Path)
    for name in ("jobs", "slots", "threads"):
        parser.add_argument(name, type=int)
    parser.add_argument("shape")
    arguments = parser.parse_args()
    from benchmarks.support import tutorial

    del tutorial  # imported here, so that the children have it
    gc.collect()
    gc.freeze()
    kinds: dict[str, Callable[[Path, int, int, int], None]] = {
        "fresh": fresh,
        "limit": limit,
        "resident": partial(resident, shape=arguments.shape),
    }
    run = kinds[arguments.kind]
    run(arguments.directory, arguments.jobs, arguments.slots, arguments.threads)


def fork(body: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        body()
        os._exit(0)
    except BaseException:  # noqa: BLE001 - a child must never return into the parent's code
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(1)


def wait(pids: list[int]) -> None:
    for pid in pids:
        if os.waitpid(pid, 0)[1]:
            raise RuntimeError("a job of the reference failed")


def tell(word: str) -> None:
    print(word, flush=True)


def fresh(directory: Path, jobs: int, slots: int, threads: int) -> None:
    from benchmarks.support import tutorial

    def job(number: int) -> None:
        tutorial.use_threads(threads)
        tutorial.fit_predict_save(tutorial.build(), directory / str(number))

    def lane(first: int) -> None:
        for number in range(first, jobs, slots):
            wait([fork(partial(job, number))])

    tell("ready")
    sys.stdin.readline()
    wait([fork(partial(lane, first)) for first in range(slots)])
    tell("done")


def limit(directory: Path, jobs: int, slots: int, threads: int) -> None:
    from benchmarks.support import tutorial

    def warm(first: int) -> Callable[[int], None]:
        tutorial.use_threads(threads)
        model = tutorial.build()
        tutorial.fit_predict_save(model, directory / f"warm-{first}", epochs=1)
        return lambda number: tutorial.fit_predict_save(model, directory / str(number))

    in_lanes(warm, jobs, slots)


def resident(directory: Path, jobs: int, slots: int, threads: int, shape: str) -> None:
    from benchmarks.support import tutorial

    def warm(first: int) -> Callable[[int], None]:
        tutorial.use_threads(threads)
        kept = tutorial.Resident(shape)
        kept.run(directory / f"warm-{first}", seed=0)

        def work(number: int) -> None:
            kept.run(directory / str(number), seed=number)

        return work

    in_lanes(warm, jobs, slots)


def in_lanes(warm: Callable[[int], Callable[[int], None]], jobs: int, slots: int) -> None:
    """`warm` makes ready, in a process for each slot, and gives what does the job with a number."""
    ready, ready_in = os.pipe()
    go_out, go = os.pipe()

    def lane(first: int) -> None:
        work = warm(first)
        os.write(ready_in, b".")
        os.read(go_out, 1)
        for number in range(first, jobs, slots):
            work(number)

    lanes = [fork(partial(lane, first)) for first in range(slots)]
    for _ in lanes:
        os.read(ready, 1)
    tell("ready")
    sys.stdin.readline()
    os.write(go, b"." * slots)
    wait(lanes)
    tell("done")


if __name__ == "__main__":
    main()
