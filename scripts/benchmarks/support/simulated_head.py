"""The head of a cluster of boxes that are not there: it speaks as `gpujobs.cluster.head` does, and its agents answer at
once. Started in that one's place by `many_nodes`, as a process of its own: its time is not the daemon's."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

from gpujobs.cluster.jsonlines import read_lines, write_line

GIB = 1 << 30
MODELS = ("NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB")
GPUS = 8
NODES = "SIMULATED_NODES"
"""The variable that says how many boxes there are besides the daemon's own."""


def device(node: str, number: int, index: int, pids: list[int]) -> dict[str, Any]:
    return {
        "node": node, "kind": "gpu", "index": index, "uuid": f"GPU-{node}-{index}",
        "name": MODELS[number % len(MODELS)], "memory_total_bytes": 80 * GIB, "memory_used_bytes": GIB * len(pids),
        "utilization_percent": 90 if pids else 0, "temperature_celsius": 60, "power_watts": 400.0,
        "processes": [
            {"pid": pid, "user": "user", "memory_bytes": GIB, "command": "trainer", "kind": "compute", "since": None}
            for pid in pids
        ],
        "fault": None, "hardware_errors": [], "energy_joules": 1e6,
    }  # fmt: skip


class Boxes:
    def __init__(self, own: str, count: int) -> None:
        self.names = [own, *(f"box{number:03}" for number in range(1, count))]
        self._pids: dict[tuple[str, str], list[int]] = {}
        self._jobs: dict[int, tuple[tuple[str, str], int]] = {}
        self._next_pid = 100_000

    def answer(self, node: str, call: str, args: dict[str, Any]) -> dict[str, Any]:
        match call:
            case "probe":
                number = self.names.index(node)
                devices = [
                    device(node, number, index, self._pids.get((node, f"GPU-{node}-{index}"), []))
                    for index in range(GPUS)
                ]
                return {"node": {"name": node, "status": "ok", "message": "", "devices": devices}}
            case "renew":
                return {"boot_id": "simulated", "at": time.monotonic()}
            case "reconcile":
                return {"reports": []}
            case "list_kept":
                return {"jobs": [], "data": []}
            case "strays":
                return {"strays": []}
            case "prepare":
                return {"blobs": []}
            case "start":
                return self._started(node, args["spec"])
            case "forget":
                self._ended(args["job"])
        return {}

    def _started(self, node: str, spec: dict[str, Any]) -> dict[str, Any]:
        self._next_pid += 1
        place = node, spec["device"]["uuid"]
        self._pids.setdefault(place, []).append(self._next_pid)
        self._jobs[spec["job"]] = place, self._next_pid
        return {"pid": self._next_pid}

    def _ended(self, job: int) -> None:
        place, pid = self._jobs.pop(job)
        self._pids[place].remove(pid)

    def first_word(self, spec: dict[str, Any]) -> dict[str, Any]:
        return {
            "event": "attempt", "what": "started", "job": spec["job"], "attempt": spec["attempt"],
            "nonce": spec["nonce"], "pid": self._next_pid, "at": "2026-01-01T00:00:00Z",
        }  # fmt: skip


def announcements(boxes: Boxes) -> Iterator[dict[str, Any]]:
    for name in boxes.names:
        yield {"event": "node", "name": name, "status": "ok", "message": ""}


async def serve(descriptor: int) -> None:
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=descriptor), limit=1 << 26)
    lines = read_lines(reader)
    settings = await anext(lines)
    boxes = Boxes(settings["node"]["node_name"], int(os.environ[NODES]))
    for line in announcements(boxes):
        await write_line(writer, line)
    async for request in lines:
        args = request.get("args", {})
        result = boxes.answer(request["node"], request["call"], args)
        await write_line(writer, {"id": request["id"], "result": result})
        if request["call"] == "start":
            await write_line(writer, boxes.first_word(args["spec"]))


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[sys.argv.index("--fd") + 1])))
