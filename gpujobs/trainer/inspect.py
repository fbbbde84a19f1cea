"""`check`: reads data headers and builds the model, in a child with the user's rights and a deadline."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from pathlib import Path
from typing import Any

from gpujobs.trainer import building, child, data, process, title
from gpujobs.trainer.backends import active as backend
from gpujobs.trainer.failures import describe
from gpujobs.trainer.spec import Spec, parse

DEADLINE_SECONDS = 60.0
ANSWER_MAX_BYTES = 4 << 20
FLOAT_BYTES = 4


def answer(request: dict[str, Any], connection: int) -> None:
    """In a process forked for it: asks a child without privileges, and relays what it says."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        answer_as_user(request, writer)
    os.close(writer)
    reply = read_answer(reader) or _error("the check did not end within 60 seconds, or crashed")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with socket.socket(fileno=connection) as asker:
        asker.sendall(reply.rstrip(b"\n") + b"\n")


def read_answer(reader: int) -> bytes | None:
    """All that the child writes until it ends; None where it is late, says too much or nothing sensible."""
    deadline, reply = time.monotonic() + DEADLINE_SECONDS, b""
    while select.select([reader], [], [], max(0.0, deadline - time.monotonic()))[0]:
        chunk = os.read(reader, 1 << 16)
        reply += chunk
        if not chunk or len(reply) > ANSWER_MAX_BYTES:
            break
    try:
        return json.dumps(json.loads(reply)).encode()
    except ValueError:
        return None


def answer_as_user(request: dict[str, Any], writer: int) -> None:
    try:
        spec = parse(request["spec"])
        null = os.open(os.devnull, os.O_RDWR)
        child.connect_descriptors(null, writer)
        child.offer_to_oom_killer()
        child.become(spec.identity)
        process.prctl(process.PR_SET_PDEATHSIG, signal.SIGKILL)
        title.set_environment({**backend.device_environment(spec), "CUDA_VISIBLE_DEVICES": "-1"})
        title.set_title("gpujobs check")
        writer = child.MESSAGES_FD
        reply = json.dumps({"result": check(spec)}).encode()
    except BaseException as error:  # noqa: BLE001 - this process must never return into the launcher's code
        reply = _error(describe(error))
    while reply:
        reply = reply[os.write(writer, reply) :]
    os._exit(0)


def check(spec: Spec) -> dict[str, Any]:
    """Raises TrainerError where the job could not be trained."""
    job = spec.jobfile
    name = job["data"]["train"]["path"]
    found = data.headers(name, Path(spec.data[name]["path"]))
    data.check(name, found, needs_y=True)
    shape = found["x"].shape
    model = building.build(job, {"x": shape[1:]})
    batch = int(job["training"]["batch_size"])
    layers = [_layer(layer) for layer in model.layers]
    return {
        "layers": layers,
        "parameters": model.count_params(),
        "memory_estimate_bytes": estimate_bytes(model, batch, shape),
        "cudnn": [
            cudnn(kind, arguments or {})
            for entry in job["model"]["layers"]
            for kind, arguments in entry.items()
            if kind == "LSTM"
        ],
        "data": {
            key: {"shape": list(header.shape), "dtype": str(header.dtype)} for key, header in found.items()
        }
        | {"classes": model.output_shape[-1]},
        "steps_per_epoch": -(-shape[0] // batch),
    }


def estimate_bytes(model: Any, batch: int, shape: tuple[int, ...]) -> int:
    """Weights, their gradients and Adam's two moments, and each layer's outputs (an LSTM's gates too)."""
    weights = model.count_params() * 4
    activations = 0
    for layer in model.layers:
        count = 1
        for length in layer.output.shape[1:]:
            count *= length
        if type(layer).__name__ == "LSTM":
            count = shape[1] * layer.units * 6
        activations += batch * count * 2
    return int((weights + activations) * FLOAT_BYTES)


def cudnn(kind: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Whether cuDNN's LSTM is used, by Keras's own conditions, and if not why."""
    expected = {
        "activation": "tanh",
        "recurrent_activation": "sigmoid",
        "recurrent_dropout": 0,
        "unroll": False,
        "use_bias": True,
    }
    wrong = [
        f"{key} is {arguments[key]}" for key, value in expected.items() if arguments.get(key, value) != value
    ]
    return {"layer": arguments.get("name", kind), "eligible": not wrong, "why": "; ".join(wrong)}


def _layer(layer: Any) -> dict[str, Any]:
    found = {
        "name": layer.name,
        "class": type(layer).__name__,
        "output_shape": list(layer.output.shape),
        "parameters": layer.count_params(),
    }
    if found["class"] == "LSTM":
        features, units = layer.cell.kernel.shape[0], layer.units
        found["formula"] = f"4 * ({features} + {units} + 1) * {units}"
    return found


def _error(message: str) -> bytes:
    return json.dumps({"error": {"code": "invalid_job_file", "message": message}}).encode()
