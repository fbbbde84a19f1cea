"""Jobs as the command line shows them."""

from __future__ import annotations

from typing import Any

RUNNING = {
    "state": "RUNNING",
    "started_at": "2026-01-01T00:00:00Z",
    "device": {"kind": "gpu", "index": 2, "uuid": "GPU-2", "name": "A"},
    "progress": {"epoch": 3, "epochs": 20, "loss": 0.61234, "eta_seconds": 70},
}


def ended(state: str = "COMPLETED") -> dict[str, Any]:
    return {"state": state, "ended_at": "2026-01-01T00:01:00Z", "reason": "", "message": ""}
