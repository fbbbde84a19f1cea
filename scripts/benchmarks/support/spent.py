"""What the processes of boxes have taken of the cores, by what they are for: where the time of a transfer goes."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.acceptance.boxes import Box

TICKS = os.sysconf("SC_CLK_TCK")

ROLES = (
    ("raylet/raylet", "raylets"),
    ("gcs_server", "GCS"),
    ("ray::AgentActor", "agents"),
    ("cluster.head", "head"),
    ("gpujobs serve", "daemon"),
)


def spent(boxes: Sequence[Box]) -> Counter[str]:
    """Seconds since each was started, by role; those of processes that are gone are not counted."""
    found: Counter[str] = Counter()
    for box in boxes:
        done = subprocess.run(["ip", "netns", "pids", box.space], capture_output=True, text=True, check=False)
        for pid in map(int, done.stdout.split()):
            try:
                command = (
                    Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            role = next((name for part, name in ROLES if part in command), "others")
            found[role] += (int(fields[11]) + int(fields[12])) / TICKS  # type: ignore[assignment]  # a Counter of seconds
    return found


def in_words(before: Counter[str], after: Counter[str]) -> str:
    taken = {role: after[role] - before[role] for role in after}
    ordered = sorted(taken.items(), key=lambda one: -one[1])
    return ", ".join(f"{role} {seconds:.1f}" for role, seconds in ordered if seconds >= 0.05)
