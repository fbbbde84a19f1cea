"""`GET` and `POST /v1/notify`: of what the caller wants to be told, and how; `POST /v1/notify/test` tries it."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from gpujobs.daemon.handlers.query import body_of
from gpujobs.daemon.keys import NEWS, caller_of
from gpujobs.daemon.news.service import NewsService
from gpujobs.errors import UsageError
from gpujobs.jobfile.recipients import given
from gpujobs.jobfile.validate import notify_problems
from gpujobs.model import Caller


class SettingBody(BaseModel):
    """`setting` is as `notify:` of a job file; null tells nobody any more, but where a job file says so."""

    model_config = ConfigDict(extra="forbid")
    setting: dict[str, Any] | None


async def handle(request: web.Request) -> web.Response:
    return _answer(request.app[NEWS], caller_of(request))


async def change(request: web.Request) -> web.Response:
    service, caller, body = request.app[NEWS], caller_of(request), await body_of(request, SettingBody)
    if body.setting is not None and (problems := notify_problems(body.setting)):
        raise UsageError("\n".join(problems))
    await service.set(caller, None if body.setting is None else given(_lists(body.setting)))
    return _answer(service, caller)


def _lists(setting: dict[str, Any]) -> dict[str, Any]:
    return {key: [value] if isinstance(value, str) else value for key, value in setting.items()}


def _answer(service: NewsService, caller: Caller) -> web.Response:
    return web.json_response({"setting": service.setting(caller), "told": service.sentence(caller)})


async def test(request: web.Request) -> web.Response:
    tried = await request.app[NEWS].test(caller_of(request))
    found = [
        {"to": to.shown, "way": to.way, "sent": outcome.sent, "said": outcome.said} for to, outcome in tried
    ]
    return web.json_response({"tried": found})
