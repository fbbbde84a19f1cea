"""Building the fake libnvidia-ml.so.1, and describing the GPUs that it shows."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

GIB = 1 << 30


def build(directory: Path) -> Path:
    """Compiles the library into `directory`; returns that, for LD_LIBRARY_PATH."""
    source = Path(__file__).with_name("nvml.c")
    target = directory / "libnvidia-ml.so.1"
    command = [
        "cc",
        "-shared",
        "-fPIC",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-o",
        str(target),
        str(source),
        "-lpthread",
    ]
    subprocess.run(command, check=True)
    return directory


@dataclass
class FakeGpu:
    uuid: str
    total_bytes: int = 80 * GIB
    used_bytes: int = 0
    utilization_percent: int = 0
    temperature_celsius: int = 35
    power_milliwatts: int = 60_000
    error: int = 0
    trainer_bytes: int = 0
    name: str = "NVIDIA H200 (fake)"

    def line(self) -> str:
        return (
            f"device {self.uuid} {self.total_bytes} {self.used_bytes} {self.utilization_percent} "
            f"{self.temperature_celsius} {self.power_milliwatts} {self.error} {self.trainer_bytes} {self.name}"
        )


@dataclass
class FakeGpus:
    """The box that the library shows; `write` puts the present values into effect."""

    library: Path
    file: Path
    gpus: list[FakeGpu]
    processes: list[tuple[int, str, int, int | None]] = field(default_factory=list)
    """(device, kind, pid, bytes or None for unknown)"""
    extra: list[str] = field(default_factory=list)
    """Other lines, as the README has them."""

    def __post_init__(self) -> None:
        self.write()

    def write(self) -> None:
        lines = [gpu.line() for gpu in self.gpus] + self.extra
        for device, kind, pid, memory in self.processes:
            lines.append(f"process {device} {kind} {pid} {'unknown' if memory is None else memory}")
        partial = self.file.with_suffix(".part")
        partial.write_text("\n".join(lines) + "\n")
        partial.replace(self.file)

    def script(
        self,
        device: int,
        what: str,
        values: Sequence[int],
        step_seconds: float = 1.0,
        began: float | None = None,
    ) -> None:
        """From now on (or `began`, in seconds since 1970) a value of the device changes by itself."""
        start = time.time() if began is None else began
        self.extra.append(f"script {device} {what} {start:.6f} {step_seconds} {' '.join(map(str, values))}")
        self.write()

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_LIBRARY_PATH": str(self.library), "GPUJOBS_FAKE_NVML": str(self.file)}

    def full_environment(self) -> dict[str, str]:
        return {**os.environ, **self.environment}


def uuid(index: int) -> str:
    return f"GPU-00000000-0000-0000-0000-{index:012d}"


def box(directory: Path, count: int, **values: Any) -> FakeGpus:
    """`count` idle GPUs; builds the library into `directory`."""
    gpus = [FakeGpu(uuid(index), **values) for index in range(count)]
    return FakeGpus(build(directory), directory / "gpus.txt", gpus)
