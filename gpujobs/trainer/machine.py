"""On what a job ran, for `environment.json`: what differs between two boxes, or before and after an update."""

from __future__ import annotations

import platform
import re
import socket
from pathlib import Path

from gpujobs import __version__

DRIVER = Path("/proc/driver/nvidia/version")
CPU = Path("/proc/cpuinfo")


def describe() -> dict[str, str | None]:
    """`nvidia_driver` is None where there is none."""
    return {
        "gpujobs": __version__,
        "host": socket.gethostname(),
        "kernel": f"{platform.system()} {platform.release()}",
        "cpu": cpu_name(_text(CPU)) or platform.machine(),
        "nvidia_driver": driver_version(_text(DRIVER)),
    }


def cpu_name(cpuinfo: str) -> str | None:
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found[1].strip() if found else None


def driver_version(text: str) -> str | None:
    """Of both of its forms: `NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  …`, and that of the open
    modules, `NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.15  …`."""
    found = re.search(r"^NVRM version:.*?\s(\d+\.\d+(?:\.\d+)?)\s", text, re.MULTILINE)
    return found[1] if found else None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
