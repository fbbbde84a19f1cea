"""`PUT /v1/data/SHA256`: a data file comes in, and is kept by the hash of its bytes."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import IO

from aiohttp import web

from gpujobs.daemon.jobs.uploads import PARTIAL, Uploads
from gpujobs.daemon.keys import UPLOADS, caller_of
from gpujobs.daemon.patience import while_locked
from gpujobs.errors import MachineError, ProtocolError
from gpujobs.failpoints import reach
from gpujobs.linux import durable
from gpujobs.model import Caller


async def handle(request: web.Request) -> web.Response:
    uploads, caller, sha256 = request.app[UPLOADS], caller_of(request), request.match_info["sha256"]
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise ProtocolError(f"{sha256} is not a SHA-256 in lower-case hexadecimal digits")
    await uploads.look(caller.uid, [sha256])
    if uploads.has(caller.uid, sha256):
        return web.Response(status=200)
    size = request.content_length
    if size is None:
        raise ProtocolError("an upload needs a Content-Length")
    try:
        with uploads.room(caller.uid, size):
            target = uploads.place(caller.uid, sha256)
            _make_user_directory(target.parent)
            await _receive(request, target, sha256, uploads, caller)
            await while_locked(lambda: _commit(uploads, caller, sha256, size))
            uploads.arrivals.tell(caller.uid, sha256)
    except OSError as error:
        raise MachineError(f"the data cannot be stored: {error.strerror}") from error
    return web.Response(status=201)


async def _commit(uploads: Uploads, caller: Caller, sha256: str, size: int) -> None:
    reach("data.commit")
    uploads.add(caller.uid, sha256, size)


def _make_user_directory(path: Path) -> None:
    """Its user's trainers pass it; nobody lists it, since a hash says what somebody works with."""
    if not path.is_dir():
        path.mkdir(exist_ok=True)
        durable.sync_directory(path.parent)
    path.chmod(0o711)


async def _receive(request: web.Request, target: Path, sha256: str, uploads: Uploads, caller: Caller) -> None:
    """Writes the body beside `target`, and renames it when its bytes hash as they should."""
    descriptor, name = tempfile.mkstemp(prefix=PARTIAL, dir=target.parent)
    partial = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            await _write(request, file, sha256)
            file.flush()
            await asyncio.to_thread(os.fsync, file.fileno())
            if uploads.are_given_away:
                os.fchown(file.fileno(), caller.uid, caller.gid)
            os.fchmod(file.fileno(), 0o400)
        reach("data.rename")
        # Its name too is on disk before the store says that it is here.
        await asyncio.to_thread(durable.rename, partial, target)
    finally:
        partial.unlink(missing_ok=True)


async def _write(request: web.Request, file: IO[bytes], sha256: str) -> None:
    """Raises ProtocolError where it is not exactly the bytes that were announced."""
    expected = request.content_length
    digest, size = hashlib.sha256(), 0
    async for chunk in request.content.iter_chunked(1 << 20):
        size += len(chunk)
        if expected is None or size > expected:  # compressed, to be more than it said
            raise ProtocolError(f"the upload is larger than its Content-Length of {expected} bytes")
        digest.update(chunk)
        await asyncio.to_thread(file.write, chunk)
    if size != expected or digest.hexdigest() != sha256:
        raise ProtocolError(
            f"the {size} bytes received hash to {digest.hexdigest()}, not to {sha256}; "
            "the file changed while it was read: submit again"
        )
