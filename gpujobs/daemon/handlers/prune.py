"""`POST /v1/prune`: what ended jobs have left goes, by the site's rules or by an age that is asked for."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from gpujobs.daemon.handlers.query import body_of
from gpujobs.daemon.keeping.removal import Kind, Left, Rules
from gpujobs.daemon.keys import SITE, caller_of
from gpujobs.errors import NotPermittedError
from gpujobs.model import iso

MAX_SECONDS = 100 * 366 * 86400


class PruneBody(BaseModel):
    """Without `older_than_seconds` the site's rules count, of which `kinds` choose some. `mine`: only the caller's,
    which is what there is for who is no admin."""

    model_config = ConfigDict(extra="forbid")
    older_than_seconds: int | None = Field(default=None, ge=0, le=MAX_SECONDS)
    kinds: list[Kind] | None = None
    mine: bool = False
    dry_run: bool = False


async def handle(request: web.Request) -> web.Response:
    site, caller, body = request.app[SITE], caller_of(request), await body_of(request, PruneBody)
    if body.kinds is not None and Kind.JOBS in body.kinds and not caller.is_admin and site.access.is_site:
        raise NotPermittedError(
            f"{caller.user} may not remove the records of jobs; ask an administrator of this site"
        )
    rules = _rules(body, site.retention.rules)
    uid = None if caller.is_admin and not body.mine else caller.uid
    if body.dry_run:
        found = await site.retention.plan(rules, uid)
    else:
        # Whoever asks may leave; a batch that is half removed must not stay so.
        found = await asyncio.shield(site.retention.prune(rules, caller.user, uid))
    return web.json_response({"dry_run": body.dry_run, "removed": [_json(one) for one in found]})


def _rules(body: PruneBody, site: Rules) -> Rules:
    if body.older_than_seconds is not None:
        kinds = body.kinds if body.kinds is not None else [kind for kind in Kind if kind is not Kind.JOBS]
        return Rules(dict.fromkeys(kinds, timedelta(seconds=body.older_than_seconds)))
    if body.kinds is None:
        return site
    return Rules(
        {kind: age for kind, age in site.ages.items() if kind in body.kinds},
        {kind: size for kind, size in site.sizes.items() if kind in body.kinds},
    )


def _json(one: Left) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "job": one.job,
        "name": one.name,
        "node": one.node,
        "user": one.user,
        "uid": one.uid,
        "sha256": one.sha256,
        "bytes": one.bytes,
        "since": iso(one.since),
    }
