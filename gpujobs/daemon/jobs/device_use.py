"""What jobs have made of their devices, put together from whoever knows it: samples of the device, the supervisor's
record of the trainer's end, the job file, and, for people to see, the trainer's own word."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.measured.advice import Setting
from gpujobs.measured.figures import Figures, Host, figures
from gpujobs.measured.sums import Sums
from gpujobs.measured.words import told
from gpujobs.model import Attempt, DeviceKind, Job, utc_now
from gpujobs.store.reader import Reader


@dataclass(frozen=True, slots=True)
class DeviceUses:
    """`sampled`: what is known of an attempt's device, as the sampler has it, or the store alone."""

    store: Reader
    cache: JobCache
    sampled: Callable[[Attempt], Sums | None]

    def of(self, job: Job, attempt: Attempt, resolved: Mapping[str, Any]) -> dict[str, Any]:
        """For JSON: of an attempt that runs, so far. `resolved`: the job file."""
        record = attempt.exit_record or {}
        of_trainer = record.get("progress")
        if attempt.ended_at is None and attempt.number == job.attempt:
            of_trainer = self.cache.progress.get(job.id)
        said = of_trainer if isinstance(of_trainer, Mapping) else {}
        found = figures_of(attempt, self.sampled(attempt), said, utc_now())
        return told(found, setting_of(job, attempt, resolved, said))

    def at_its_end(self, job: Job) -> dict[str, Any] | None:
        """Of its latest attempt, for metrics.json."""
        if job.current is None:
            return None
        return self.of(job, job.current, self.store.spec(job.id).resolved)


def figures_of(attempt: Attempt, sums: Sums | None, said: Mapping[str, Any], now: datetime) -> Figures:
    """`said`: the trainer's latest progress."""
    is_gpu = attempt.device_kind is DeviceKind.GPU
    reserved = attempt.gpu_memory_bytes or attempt.device_memory_bytes
    return figures(
        kind=attempt.device_kind,
        seconds=max(0.0, ((attempt.ended_at or now) - attempt.started_at).total_seconds()),
        sums=sums,
        reserved_bytes=reserved if is_gpu else None,
        host=_host((attempt.exit_record or {}).get("host")),
        data_share=said.get("data_share"),
    )


def setting_of(job: Job, attempt: Attempt, resolved: Mapping[str, Any], said: Mapping[str, Any]) -> Setting:
    training, samples, asked = (
        resolved.get("training") or {},
        said.get("train_samples"),
        job.demand.gpu_memory,
    )
    batch_size = training.get("batch_size")
    return Setting(
        batch_size=batch_size if isinstance(batch_size, int) else None,
        samples=samples if isinstance(samples, int) and samples > 0 else None,
        gpu_memory=asked if isinstance(asked, int) else None,
        is_whole=attempt.device_kind is DeviceKind.GPU and attempt.gpu_memory_bytes is None and asked is None,
    )


def _host(value: object) -> Host | None:
    """As the exit record has it; one of an earlier version has none."""
    if not isinstance(value, Mapping):
        return None
    return Host(
        peak_memory_bytes=int(value["peak_memory_bytes"]),
        cpu_seconds=float(value["cpu_seconds"]),
        cpu_threads=int(value["cpu_threads"]),
    )
