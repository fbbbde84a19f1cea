"""Asking NVML in a process of its own, with a deadline.

An NVML call can hang, and then cannot always be killed: the process that makes it is given up, and
another is started for the next question. `python -m gpujobs.node.probe` is that process: it says a line when it can be
asked, one line in asks, one JSON line out answers, the end of its input ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import subprocess
import sys
import time

from gpujobs.errors import in_words
from gpujobs.protocol import codec
from gpujobs.protocol.codec import ShapeError
from gpujobs.protocol.reading import Reading, ReadingStatus

DEADLINE_SECONDS = 5.0
"""Of the driver's answer."""

START_SECONDS = 60.0
"""Until the process can be asked. It has not touched the driver yet: where that takes long, the machine is busy, and a
process that is given up would only be started again."""

KILL_SECONDS = 1.0

READY = b"ready\n"
"""What it says when it can be asked. What is said before (by a module of the site's, say) is no answer."""

COMMAND = (sys.executable, "-P", "-m", "gpujobs.node.probe")


def read_once(deadline_seconds: float = DEADLINE_SECONDS) -> Reading:
    """One reading, for a program that is just starting. Blocks until the process can be asked, and then up to the
    deadline."""
    try:
        process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(),
            start_new_session=True,
        )
    except OSError as error:
        return Reading(ReadingStatus.FAILED, f"the probe of NVML cannot be started: {in_words(error)}")
    try:
        has_started = _has_started(process)
        output, errors = process.communicate(b"read\n", deadline_seconds)
        return _reading_of(output, errors.decode(errors="replace"))
    except subprocess.TimeoutExpired:
        process.kill()
        _abandon(process)
        return _hung(deadline_seconds) if has_started else _slow()


def _has_started(process: subprocess.Popen[bytes]) -> bool:
    """Whether it says so in time; not where it ends before."""
    assert process.stdout is not None
    descriptor, readable = (
        process.stdout.fileno(),
        select.poll(),
    )  # a daemon has more descriptors than select takes
    readable.register(descriptor, select.POLLIN)
    said, deadline = b"\n", time.monotonic() + START_SECONDS
    while not said.endswith(b"\n" + READY):
        if not readable.poll(max(0.0, 1000 * (deadline - time.monotonic()))):
            return False
        if not (more := os.read(descriptor, 4096)):
            return False
        said = (said + more)[-2 * len(READY) :]
    return True


def _abandon(process: subprocess.Popen[bytes]) -> None:
    """A process stuck in the driver dies whenever the driver lets it: it is not waited for long."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(KILL_SECONDS)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()
    if process.returncode is None:
        process.returncode = -9  # keeps Popen from warning that it was left running


class Probe:
    """A probe process that is kept for the next reading. Nothing runs in it when nobody asks."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._current: asyncio.Task[Reading] | None = None

    async def read(self, deadline_seconds: float = DEADLINE_SECONDS) -> Reading:
        """The devices as they are now; those who ask at the same time share one reading. The deadline is that of the
        driver's answer alone."""
        if self._current is None or self._current.done():
            self._current = asyncio.create_task(self._read(deadline_seconds))
        return await asyncio.shield(self._current)

    async def close(self) -> None:
        if self._process is not None:
            process, self._process = self._process, None
            await _end(process)

    async def _read(self, deadline_seconds: float) -> Reading:
        """One that says something else than it should is given up: its next word would be taken for the next answer."""
        try:
            process = await asyncio.wait_for(self._started(), START_SECONDS)
        except ValueError:  # a line without an end
            await self.close()
            return _reading_of(b"", "it says too much")
        except TimeoutError:
            await self.close()
            return _slow()
        except OSError as error:
            await self.close()
            return Reading(ReadingStatus.FAILED, f"the probe of NVML cannot be started: {in_words(error)}")
        try:
            line = await asyncio.wait_for(_ask(process), deadline_seconds)
        except TimeoutError:
            await self.close()
            return _hung(deadline_seconds)
        except (OSError, ValueError):  # it has ended, or says what has no end
            line = b""
        try:
            return codec.parse(Reading, line)
        except ShapeError:
            await _wait(process)
            status = process.returncode
            await self.close()
        return _reading_of(line, "" if status is None else f"it ended with status {status}")

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *COMMAND,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=_environment(),
                start_new_session=True,
                limit=1 << 24,
            )
            assert self._process.stdout is not None
            while await self._process.stdout.readline() not in (READY, b""):
                pass
        return self._process


async def _ask(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(b"read\n")
    await process.stdin.drain()
    return await process.stdout.readline()


async def _end(process: asyncio.subprocess.Process) -> None:
    """A process that is stuck in the driver dies when the driver lets it: it is not waited for long."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await _wait(process)


async def _wait(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), KILL_SECONDS)


def _environment() -> dict[str, str]:
    """LD_LIBRARY_PATH decides which NVML is asked, so it stays; Ray's variables do not."""
    return {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}


def _hung(deadline_seconds: float) -> Reading:
    return Reading(
        ReadingStatus.FAILED,
        f"NVML did not answer within {deadline_seconds:g} s; `dmesg | grep -i -e xid -e nvrm` may say why",
    )


def _slow() -> Reading:
    return Reading(
        ReadingStatus.FAILED,
        f"the probe of NVML has not started within {START_SECONDS:g} s; is this machine overloaded?",
    )


def _reading_of(line: bytes, errors: str) -> Reading:
    try:
        return codec.parse(Reading, line)
    except ShapeError:
        last = errors.strip().splitlines()[-1:] or [f"it says {line!r:.80}, which is no reading"]
        return Reading(
            ReadingStatus.FAILED,
            f"the probe of NVML failed: {last[0]}; `echo read | {sys.executable} -P -m gpujobs.node.probe` may say why",
        )


def main() -> None:
    """In the probe process. What has to be imported is, before it says that it can be asked. What a library prints is
    no answer."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    from gpujobs import nvml
    from gpujobs.errors import DriverError
    from gpujobs.node.processes import describe_all

    def answer() -> Reading:
        try:
            return Reading(ReadingStatus.OK, "", tuple(describe_all(device) for device in nvml.read()))
        except nvml.NoDriverError as error:
            return Reading(ReadingStatus.NO_DRIVER, str(error))
        except DriverError as error:
            return Reading(ReadingStatus.FAILED, str(error))

    def say(line: str) -> None:
        answers.write(line + "\n")
        answers.flush()

    say(READY.decode().strip())
    for _ in sys.stdin:
        say(codec.encode(answer()).decode())


if __name__ == "__main__":
    main()
