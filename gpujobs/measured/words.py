"""The line of a job's figures, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gpujobs.measured.advice import Setting, advice, size
from gpujobs.measured.figures import POWER, Figures
from gpujobs.units import written

WHOLE = 0.9
"""Of a job's time: where less was sampled, the line says how much."""


def told(figures: Figures, setting: Setting) -> dict[str, Any]:
    """For JSON: the figures that are known, the line, and the advice or null."""
    return {**figures.to_json(), "line": line(figures), "advice": advice(figures, setting)}


def lines(value: Mapping[str, Any] | None) -> list[str]:
    """Of what `told` has made: the line, and the advice where there is one."""
    if not value or not value.get("line"):
        return []
    said = value.get("advice")
    return [str(value["line"]), *([f"Advice: {said}."] if said else [])]


def line(figures: Figures) -> str:
    """What is not known is left out; empty where nothing is known."""
    return "; ".join((*_of_device(figures), *_of_host(figures)))


def _of_device(figures: Figures) -> Iterator[str]:
    if figures.load is not None and figures.idle is not None:
        whose = f", also that of others {figures.others:.0%} of the time" if figures.others else ""
        yield f"GPU load {figures.load:.0%} (idle {figures.idle:.0%}{whose})"
    if figures.memory_peak_bytes is not None:
        of = f" of {size(figures.memory_reserved_bytes)}" if figures.memory_reserved_bytes else ""
        yield f"GPU memory {size(figures.memory_peak_bytes)}{of}"
    if figures.energy_joules is not None:
        yield f"{energy(figures.energy_joules)}{' (by its power)' if figures.energy_by == POWER else ''}"
    sampled = figures.sampled_seconds
    if sampled is not None and sampled < WHOLE * figures.seconds:
        yield f"sampled for {written(sampled)} of {written(figures.seconds)}"


def _of_host(figures: Figures) -> Iterator[str]:
    if figures.kind == "cpu" and figures.cpu_share is not None and figures.cpu_threads is not None:
        threads = "its thread" if figures.cpu_threads == 1 else f"its {figures.cpu_threads} threads"
        yield f"{threads} computed {figures.cpu_share:.0%} of the time"
    if figures.host_memory_peak_bytes is not None:
        yield f"main memory {size(figures.host_memory_peak_bytes)}"
    if figures.data_share is not None:
        yield f"{figures.data_share:.0%} of the training went into preparing batches"


def energy(joules: float) -> str:
    """`640 J`, `12.3 kJ`, `1.25 kWh`: from a tenth of a kilowatt-hour on as an electricity meter has it."""
    if joules >= 360_000:
        return f"{joules / 3_600_000:.2f} kWh"
    return f"{joules / 1000:.1f} kJ" if joules >= 1000 else f"{joules:.0f} J"
