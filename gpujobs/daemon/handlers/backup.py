"""`GET /v1/backup`: a copy of the store, as of one moment, while the daemon serves on."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import tempfile
from io import BufferedReader
from pathlib import Path
from typing import Any

from aiohttp import web

from gpujobs import __version__
from gpujobs.daemon.keys import SITE, caller_of
from gpujobs.daemon.site_service import SiteService
from gpujobs.errors import MachineError, NotPermittedError
from gpujobs.failpoints import reach
from gpujobs.model import iso, utc_now
from gpujobs.store.backups import FORMAT

CHUNK_BYTES = 1 << 20


async def handle(request: web.Request) -> web.StreamResponse:
    """One line of JSON that describes it, then the bytes of the database. They are sent to whoever asks, who writes
    them with rights of their own: this daemon writes where it says itself."""
    site, caller = request.app[SITE], caller_of(request)
    if caller.uid not in (0, os.geteuid()):
        raise NotPermittedError(
            f"{caller.user} may not copy the store, which has everybody's jobs; "
            "it is for this daemon's own user and root"
        )
    # Nothing is awaited between the two, so that one describes the other.
    described, copy = _described(site), _copy(site)
    with copy as file:
        digest = await asyncio.to_thread(hashlib.file_digest, file, "sha256")
        described |= {"bytes": file.tell(), "sha256": digest.hexdigest()}
        header = json.dumps(described).encode() + b"\n"
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        response.content_length = len(header) + file.tell()
        file.seek(0)
        await response.prepare(request)
        await response.write(header)
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            await response.write(chunk)
    return response


def _copy(site: SiteService) -> BufferedReader:
    """Open, and without a name, so that nothing is left of it whatever happens."""
    descriptor, name = tempfile.mkstemp(prefix="backup-", suffix=".db", dir=site.paths.run)
    path = Path(name)
    try:
        os.close(descriptor)
        reach("backup.copy")
        site.store.copy_to(path)
        return path.open("rb")
    except OSError as error:
        raise MachineError(f"{path}: the store cannot be copied: {error.strerror}") from error
    finally:
        path.unlink(missing_ok=True)


def _described(site: SiteService) -> dict[str, Any]:
    config = site.in_force.settings.config
    return {
        "format": FORMAT,
        "gpujobs": __version__,
        "store": site.store.identity,
        "highest": site.store.highest_number(),
        "jobs": site.store.counts(),
        "made_at": iso(utc_now()),
        "state_dir": str(site.paths.root),
        "config": None if config is None else _text(config),
    }


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return None
