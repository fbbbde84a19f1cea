"""The files of a finished job, as docs name them; log.txt is added where they are collected."""

from __future__ import annotations

import csv
import json
import platform
import resource
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from gpujobs.jobfile.writing import dump, with_absolute_paths
from gpujobs.metric_names import NONE, Kinds, smaller_is_better
from gpujobs.protocol import codec
from gpujobs.protocol.spec import AttemptSpec
from gpujobs.trainer import machine, tensorboard
from gpujobs.trainer.backends import active as backend
from gpujobs.trainer.data.fitting.preprocessing import FILE, Preprocessing


def history(path: Path, rows: list[dict[str, float]]) -> None:
    """As Keras's CSVLogger writes it: `epoch` first, counted from 0, the metrics by name."""
    keys = ["epoch", *sorted(rows[0].keys() - {"epoch"})] if rows else ["epoch"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=keys)
        writer.writeheader()
        writer.writerows(rows)


def values(rows: list[dict[str, float]], kept: int, kinds: Kinds = NONE) -> dict[str, dict[str, float]]:
    """Final and best value of each metric, and those of the epoch whose weights the model has, the row `kept`.
    The best of a loss or an error is the smallest; `kinds`: the classes of metrics with names of the job's own.
    `epoch` counts from 1 here, as the log does."""
    of_kept = {**rows[kept], "epoch": int(rows[kept]["epoch"]) + 1} if rows else {}
    result: dict[str, dict[str, float]] = {"final": {}, "best": {}, "kept": of_kept}
    for name in sorted(rows[-1].keys() - {"epoch"}) if rows else ():
        series = [row[name] for row in rows]
        best = min if smaller_is_better(name, kinds) else max
        result["final"][name], result["best"][name] = series[-1], best(series)
    return result


def environment(spec: AttemptSpec) -> dict[str, Any]:
    return {
        **machine.describe(),
        "python": platform.python_version(),
        **backend.versions(),
        "device": codec.write(spec.device),
        "seed": spec.jobfile.get("training", {}).get("seed"),
        "data": {name: file.sha256 for name, file in spec.data.items()},
    }


def preprocessing(results: Path, learned: Preprocessing) -> None:
    (results / FILE).write_text(json.dumps(learned.to_json(), indent=2) + "\n", encoding="utf-8")


def peak_memory_bytes() -> int:
    """Of this process, on the host."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _job_file(results: Path, spec: AttemptSpec) -> None:
    """The resolved one, which lies elsewhere than the one it was made of: its paths are absolute."""
    text = dump(with_absolute_paths(spec.jobfile, PurePath(spec.jobfile_path).parent))
    (results / "job.yaml").write_text(text, encoding="utf-8")


def write_prediction(results: Path, spec: AttemptSpec, metrics: Mapping[str, Any]) -> None:
    """The figures of a job that trained nothing."""
    _job_file(results, spec)
    (results / "environment.json").write_text(
        json.dumps(environment(spec), indent=2) + "\n", encoding="utf-8"
    )
    (results / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")


def write(results: Path, spec: AttemptSpec, rows: list[dict[str, float]], metrics: Mapping[str, Any]) -> None:
    """All but the model and the predictions; metrics.json last: it says that the results are whole."""
    history(results / "history.csv", rows)
    _job_file(results, spec)
    (results / "environment.json").write_text(
        json.dumps(environment(spec), indent=2) + "\n", encoding="utf-8"
    )
    tensorboard.write_scalars(results / "tensorboard", rows)
    (results / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
