"""The trainer's side of a hand-over: it says that its job is done, and waits for the spec of the next one."""

from __future__ import annotations

import os
import signal
import socket

from gpujobs.failpoints import reach
from gpujobs.protocol import codec
from gpujobs.protocol.spec import AttemptSpec
from gpujobs.protocol.training import Ended, line_of

ORDERS_BYTES = 65536


def next_spec(messages: int) -> AttemptSpec:
    """Blocks for as long as the supervisor lives and waits. Orders that come before the next spec are of the job that
    has ended. Reading stops behind a descriptor (unix(7)), so what follows it is left for the next job.

    SIGTERM ends the process from here on until the next job has its own StopFlag. To block it would be of no use: it
    would go to one of the backend's threads, and set the flag of the job that has ended."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    reach("trainer.ended")
    os.write(messages, line_of(Ended()))
    with socket.socket(fileno=os.dup(messages)) as end:
        descriptors: list[int] = []
        while not descriptors:
            lines, descriptors, _, _ = socket.recv_fds(end, ORDERS_BYTES, 1)
            if not lines:
                os._exit(0)
    with os.fdopen(descriptors[0], "rb") as file:
        return codec.parse(AttemptSpec, file.read(), "spec.json")
