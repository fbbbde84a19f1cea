"""One call that submits a file that makes a thousand jobs, or a thousand files."""

from __future__ import annotations

from pathlib import Path

from benchmarks.support.daemon import TUTORIAL_JOB, Daemon, running
from benchmarks.support.options import Options
from benchmarks.support.rows import Row
from benchmarks.support.timing import timed

AT_MOST_SECONDS = 2.0


def measure(options: Options) -> list[Row]:
    """The jobs are not held: the policy sees them, and the first ones start meanwhile."""
    one, many = [], []
    with running(options.slots, options.daemon) as daemon:
        sweep, files = write_sweep(daemon.root, options.bulk), write_files(daemon.root, options.bulk)
        for _ in range(options.repeat):
            one.append(submit(daemon, [sweep], options.bulk))
            many.append(submit(daemon, files, options.bulk))
    return [
        Row(f"submit: one file that makes {options.bulk:,} jobs", "s", tuple(one), AT_MOST_SECONDS),
        Row(f"submit: {options.bulk:,} files", "s", tuple(many), AT_MOST_SECONDS),
    ]


def submit(daemon: Daemon, files: list[Path], count: int) -> float:
    jobs: list[int] = []
    seconds = timed(lambda: daemon.run("submit", *files))
    with daemon.client() as client:
        jobs = [job["id"] for job in client.get("/v1/jobs")["jobs"] if not job["held"]]
        if len(jobs) != count:
            raise RuntimeError(f"{len(jobs)} jobs wait or run, not {count}")
        client.post("/v1/jobs/cancel", {"ids": jobs})
        for _ in client.watch(jobs):
            pass
    return seconds


def source(name: str) -> str:
    """The tutorial job, under another name, with the absolute path of its data."""
    text = TUTORIAL_JOB.read_text().replace("tutorial-lstm", name)
    return text.replace("data/tutorial.npz", str(TUTORIAL_JOB.parent / "data/tutorial.npz"))


def write_sweep(directory: Path, count: int) -> Path:
    path = directory / "sweep.yaml"
    path.write_text(f"{source('sweep')}\nsweep:\n  grid: {{training.seed: {list(range(count))}}}\n")
    return path


def write_files(directory: Path, count: int) -> list[Path]:
    paths = [directory / f"job-{number}.yaml" for number in range(count)]
    for path in paths:
        path.write_text(source(path.stem))
    return paths
