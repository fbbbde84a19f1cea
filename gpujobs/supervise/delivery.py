"""Tells one recipient some news: `python -m gpujobs.supervise.delivery`, started by the daemon for each try.

It reads what to tell from standard input and forks a child, which takes the user's identity and tells it. What is
left of that child after its time, or after its end, is killed. One line on standard output says what came of it.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from typing import NoReturn

from gpujobs.linux import process
from gpujobs.protocol import codec
from gpujobs.protocol.codec import ShapeError
from gpujobs.protocol.news import Delivery, Outcome
from gpujobs.supervise import rights

REQUEST_MAX_BYTES = 1 << 20
ANSWER_MAX_BYTES = 1 << 16
KILL_SECONDS = 5.0


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    order = codec.parse(Delivery, sys.stdin.buffer.read(REQUEST_MAX_BYTES))
    sys.stdout.write(codec.encode(deliver(order)).decode() + "\n")


def deliver(order: Delivery) -> Outcome:
    from gpujobs import sender

    try:
        sender.load(order)  # what is imported later would be with the rights of a user, who may not read it
    except ImportError as error:
        return Outcome(False, False, f"{error.name} is not installed here; `pip install 'gpujobs[notify]'`")
    codec.warm([Outcome])
    process.prctl(process.PR_SET_CHILD_SUBREAPER, 1)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        deliver_as_user(order, writer)
    os.close(writer)
    try:
        return read_outcome(reader, order.timeout_seconds)
    finally:  # also where the daemon ends, and this with it
        process.kill_children(KILL_SECONDS)


def read_outcome(reader: int, seconds: float) -> Outcome:
    deadline, answer = time.monotonic() + seconds, b""
    while select.select([reader], [], [], max(0.0, deadline - time.monotonic()))[0]:
        chunk = os.read(reader, 1 << 12)
        answer += chunk
        if not chunk or len(answer) > ANSWER_MAX_BYTES:
            break
    else:
        return Outcome(False, True, f"nothing came of it within {seconds:g} s; it was ended")
    try:
        return codec.parse(Outcome, answer)
    except ShapeError:
        return Outcome(False, True, "it ended without a word")


def deliver_as_user(order: Delivery, writer: int) -> NoReturn:
    from gpujobs import sender

    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        process.close_all_except(writer)
        os.set_inheritable(writer, False)
        rights.offer_to_oom_killer()
        # A mail program of the machine's may need the rights of its queue's group; a command gains none.
        rights.become(order.identity, may_gain=order.way == "mail" and order.server is None)
        os.umask(0o077)
        outcome = sender.send(order)
    except BaseException as error:  # noqa: BLE001 - this process must never return into the code of its parent
        outcome = Outcome(False, True, f"{type(error).__name__}: {error}")
    try:
        os.write(writer, codec.encode(outcome))
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
