"""One sentence of advice, where a job's figures say so. docs/device-use.md has the rules in words; the first one that
holds is the one that is said, and where none does nothing is."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gpujobs.measured.figures import Figures

SOON_SECONDS = 10.0
"""A training that is over sooner needs no advice, and what was sampled for less says nothing."""

MOST_OF_IT = 0.5
"""Of the time of a job: so much of it must have been sampled."""

MUCH_WAITING = 0.3
"""Of a training's time, in preparing batches."""

MUCH_IDLE = 0.5
"""Of the sampled time."""

LITTLE_COMPANY = 0.1
"""Of the sampled time, with others on the device: beyond it the load says nothing about one job."""

LARGE_BATCH = 256
"""From there on a batch is not called small."""

TIMES_FOR_DATA = 4
MOST_TIMES = 8
LARGEST_BATCH = 1024
"""So much larger, or so large, a batch is at most that is advised."""

ROOM = 0.8
"""Of the reserved memory, that larger batches may be expected to fill."""

LITTLE_OF_REQUESTED = 0.5
LITTLE_OF_WHOLE = 0.25
"""Of the memory: below it something is said, where it was asked for in bytes, or where the job had a whole GPU."""

HEADROOM = 1.25
STEP_BYTES = 256 << 20
"""The memory that is advised: the peak with this much headroom, in steps."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the job file has of it. `batch_size` None: it has trained nothing. `samples`: of the training part, as far
    as is known. `gpu_memory`: bytes, where it names bytes. `is_whole`: it had a GPU for itself, without asking for a
    part of one."""

    batch_size: int | None = None
    samples: int | None = None
    gpu_memory: int | None = None
    is_whole: bool = False


def advice(figures: Figures, setting: Setting) -> str | None:
    """Without a full stop."""
    if figures.seconds < SOON_SECONDS:
        return None
    rules = (_of_data, _of_idle_gpu, _of_memory, _of_idle_threads)
    return next((said for rule in rules if (said := rule(figures, setting)) is not None), None)


def of_data(share: float | None, seconds: float, batch_size: int, samples: int | None = None) -> str | None:
    """What a trainer can say by itself: it knows its own time, and not what its device did meanwhile."""
    larger = min(TIMES_FOR_DATA * batch_size, _most(samples))
    if share is None or share < MUCH_WAITING or seconds < SOON_SECONDS or larger <= batch_size:
        return None
    return (
        f"the device waited for data {share:.0%} of the time; batches of {larger:.0f} instead of {batch_size} "
        "are prepared less often (training.batch_size)"
    )


def _of_data(figures: Figures, setting: Setting) -> str | None:
    """A GPU that computes meanwhile does not wait, whatever its trainer says."""
    if setting.batch_size is None or (figures.idle is not None and figures.idle < MUCH_WAITING):
        return None
    return of_data(figures.data_share, figures.seconds, setting.batch_size, setting.samples)


def _of_idle_gpu(figures: Figures, setting: Setting) -> str | None:
    if not _is_load_known(figures) or figures.load is None or figures.idle is None:
        return None
    if figures.idle < MUCH_IDLE or setting.batch_size is None or setting.batch_size >= LARGE_BATCH:
        return None
    larger = _larger_batch(setting, figures.load, _times_that_fit(figures))
    if larger is None:
        return None
    return (
        f"the GPU was idle {figures.idle:.0%} of the time; the batches of {setting.batch_size} are small for it: "
        f"training.batch_size: {larger} gives it more to do at once"
    )


def _of_memory(figures: Figures, setting: Setting) -> str | None:
    used, reserved = figures.memory_peak_bytes, figures.memory_reserved_bytes
    if used is None or not reserved or not _is_sampled(figures):
        return None
    if setting.gpu_memory is not None and used < LITTLE_OF_REQUESTED * setting.gpu_memory:
        enough = math.ceil(HEADROOM * used / STEP_BYTES) * STEP_BYTES
        if enough < setting.gpu_memory:
            return (
                f"it asked for {size(setting.gpu_memory)} of the GPU's memory and used {size(used)} at most: "
                f"resources.gpu_memory: {_as_setting(enough)} leaves the rest to other jobs"
            )
    is_idle = figures.idle is not None and figures.idle >= MUCH_IDLE
    if setting.is_whole and is_idle and _is_load_known(figures) and used < LITTLE_OF_WHOLE * reserved:
        return (
            f"it had a whole GPU, which was idle {figures.idle:.0%} of the time, and used {size(used)} of its "
            f"{size(reserved)}: with resources.gpu_memory: auto other jobs may run beside it"
        )
    return None


def _of_idle_threads(figures: Figures, setting: Setting) -> str | None:
    threads, share = figures.cpu_threads, figures.cpu_share
    if figures.kind != "cpu" or threads is None or threads < 2 or share is None or share > 1 - MUCH_IDLE:
        return None
    if setting.batch_size is None or setting.batch_size >= LARGE_BATCH:
        return None
    larger = _larger_batch(setting, share, MOST_TIMES)
    if larger is None:
        return None
    return (
        f"its {threads} threads computed {share:.0%} of their time; the batches of {setting.batch_size} are small "
        f"for them: training.batch_size: {larger} gives them more to do at once"
    )


def _is_sampled(figures: Figures) -> bool:
    sampled = figures.sampled_seconds or 0.0
    return sampled >= SOON_SECONDS and sampled >= MOST_OF_IT * figures.seconds


def _is_load_known(figures: Figures) -> bool:
    """And the job's own: alone on its device, as good as always."""
    return figures.idle is not None and _is_sampled(figures) and (figures.others or 0.0) <= LITTLE_COMPANY


def _larger_batch(setting: Setting, load: float, times_that_fit: float) -> int | None:
    """Larger by the power of two that would fill the time at this load, as far as memory and samples allow it."""
    batch = setting.batch_size or 1
    most = min(times_that_fit, LARGEST_BATCH / batch, _most(setting.samples) / batch)
    factor = 1
    while factor < MOST_TIMES and factor * load < 1 and 2 * factor <= most:
        factor *= 2
    return batch * factor if factor > 1 else None


def _most(samples: int | None) -> float:
    return math.inf if samples is None else samples


def _times_that_fit(figures: Figures) -> float:
    """As if all of the memory grew with the batch, which a part of it does not."""
    used, reserved = figures.memory_peak_bytes, figures.memory_reserved_bytes
    return ROOM * reserved / used if used and reserved else MOST_TIMES


def size(count: float) -> str:
    """`1.2 GiB`, `512 MiB`"""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _as_setting(count: int) -> str:
    """As a job file has it."""
    return f"{count >> 30}GiB" if count % (1 << 30) == 0 else f"{count >> 20}MiB"
