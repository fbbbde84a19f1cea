"""Trainers of this node that wait for another job: finding them, handing an attempt over to one, and ending them.

Who waits is known by the locks in `run/residents/`, whatever was restarted meanwhile: a supervisor holds one from
before anybody hears that its attempt has ended until it holds the lock of another attempt, or its trainer is dead.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Collection
from pathlib import Path

from gpujobs.errors import LauncherError, LaunchError
from gpujobs.failpoints import reach
from gpujobs.linux import durable
from gpujobs.linux.cgroup import Cgroup
from gpujobs.linux.durable import DamagedError
from gpujobs.linux.process import boot_id
from gpujobs.linux.saying import say
from gpujobs.linux.sockets import connect
from gpujobs.node.attempts import is_alive, send_signal
from gpujobs.paths import AttemptPaths, StatePaths
from gpujobs.protocol import codec
from gpujobs.protocol.codec import ShapeError
from gpujobs.protocol.launcher import Forked, answer_of
from gpujobs.protocol.records import AttemptKey, ProcessId, ResidentNote
from gpujobs.protocol.residents import ASKED, Leave, TakeOver

ANSWER_SECONDS = 0.3
"""In which one that waits has begun to claim what it is given."""

LEAVE_SECONDS = 1.0
OLD_SECONDS = 60.0
"""Nobody waits for so long."""

END_SECONDS = 15.0


def clear(paths: StatePaths) -> None:
    """Removes what those have left who were killed while they waited."""
    for path in paths.residents.glob("*"):
        with contextlib.suppress(OSError):
            is_old = time.time() - path.stat().st_mtime > OLD_SECONDS
            if is_old and not durable.is_locked(path.with_suffix("")):
                path.unlink()


def waiting(paths: StatePaths, device_uuid: str) -> list[ResidentNote]:
    """Those on a device."""
    notes = map(_note, paths.residents.glob("*"))
    return [note for note in notes if note is not None and note.device_uuid == device_uuid]


def of(paths: StatePaths, last: AttemptKey) -> ResidentNote | None:
    """The one that has trained this attempt last."""
    return _note(paths.residents / last.nonce) if last.nonce else None


def _note(path: Path) -> ResidentNote | None:
    if path.suffix or not durable.is_locked(path):
        return None
    try:
        note = codec.parse(ResidentNote, durable.read_json(path) or {}, path.name)
    except (DamagedError, ShapeError) as error:  # it was written before it had this name
        say(f"{path} is not understood: {error}")
        return None
    return note if note.boot_id == boot_id() else None


async def hand_over(paths: StatePaths, resident: ResidentNote, attempt: AttemptPaths) -> Forked | None:
    """Gives an attempt, whose files are there, to who waits; None where it was not taken: then that trainer has ended,
    and nothing was claimed. Whoever holds the attempt's lock, or has completed it, has taken it, however late."""
    reach("resident.ask")
    answer = None
    with contextlib.suppress(OSError, ValueError):
        answer = await _asked(paths, resident, attempt)
    reach("resident.answered")
    taken = Forked(resident.supervisor.pid, is_resident=True)
    if answer is not None or durable.is_locked(attempt.lock):
        return answer or taken
    await end(paths, resident)
    if durable.is_locked(attempt.lock) or attempt.exit.exists():
        return taken  # it has claimed it meanwhile
    if os.path.lexists(attempt.claim):
        raise LauncherError("what waited for it has claimed it and has ended")
    return None


async def _asked(paths: StatePaths, resident: ResidentNote, attempt: AttemptPaths) -> Forked | None:
    reader, writer = await asyncio.open_unix_connection(sock=connect(_socket(paths, resident.last)))
    try:
        op = TakeOver(str(attempt.root), str(paths.agent_socket))
        writer.write(ASKED.encode(op) + b"\n")
        return answer_of(Forked, await asyncio.wait_for(reader.readline(), ANSWER_SECONDS))
    except (LaunchError, TimeoutError):
        return None  # it has looked at it, and it does not fit; or it hangs
    finally:
        writer.close()


def _socket(paths: StatePaths, last: AttemptKey) -> Path:
    return paths.residents / f"{last.nonce}.sock"


async def end_all(paths: StatePaths, device_uuid: str, but: Collection[AttemptKey] = ()) -> None:
    """Of those on a device. Raises LauncherError where one does not end."""
    gone = [note for note in waiting(paths, device_uuid) if note.last not in but]
    await asyncio.gather(*(end(paths, note) for note in gone))


async def end(paths: StatePaths, resident: ResidentNote) -> None:
    """Its trainer has ended when this returns, or has got an attempt meanwhile. Raises LauncherError where it does not
    end."""
    reach("resident.end")
    ends = [_ended(resident.supervisor, resident.boot_id), _ended(resident.trainer, resident.boot_id)]
    with contextlib.suppress(OSError), connect(_socket(paths, resident.last)) as connection:
        connection.setblocking(False)
        connection.send(ASKED.encode(Leave()) + b"\n")
    over = asyncio.gather(*ends)
    try:
        await asyncio.wait_for(asyncio.shield(over), LEAVE_SECONDS)
    except TimeoutError:
        if of(paths, resident.last) is None:
            over.cancel()
            await asyncio.gather(over, return_exceptions=True)
            return
        _kill(resident)
        try:
            await asyncio.wait_for(over, END_SECONDS)
        except TimeoutError:
            raise LauncherError(
                f"the trainer that waited after job {resident.last.job} (pid {resident.trainer.pid}) does not end"
            ) from None


def _kill(resident: ResidentNote) -> None:
    send_signal(resident.supervisor, resident.boot_id, signal.SIGKILL)
    if resident.cgroup:
        group = Cgroup(Path(resident.cgroup))
        group.kill()
        group.remove()
    send_signal(resident.trainer, resident.boot_id, signal.SIGKILL)


async def _ended(process: ProcessId, boot: str) -> None:
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    try:
        if is_alive(process, boot):
            loop.add_reader(descriptor, ended.set)
            await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
