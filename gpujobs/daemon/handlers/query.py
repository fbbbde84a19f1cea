"""Reading what a request carries."""

from __future__ import annotations

from typing import Any, TypeVar
from urllib.parse import unquote

from aiohttp import web
from pydantic import BaseModel, ValidationError

from gpujobs.daemon.keys import caller_of, daemon_of
from gpujobs.daemon.references import Chosen, choose
from gpujobs.errors import ProtocolError, UsageError

MAX_DIGITS = 18
"""Of numbers below 2**63, as the store's are."""

Body = TypeVar("Body", bound=BaseModel)


def chosen_of(request: web.Request) -> Chosen | None:
    """The jobs of `?ids=7,g12,NAME`, where names are percent-encoded once more for their commas; None where
    there is no such parameter. Raises UsageError for one that does not exist."""
    text = request.query.get("ids")
    if text is None:
        return None
    return choose(daemon_of(request).store, caller_of(request), map(unquote, text.split(",")))


def number_of(request: web.Request, name: str, default: int | None = None) -> int | None:
    text = request.query.get(name)
    if text is None:
        return default
    if not text.isdecimal() or len(text) > MAX_DIGITS:
        raise UsageError(f"{name} is {text[:MAX_DIGITS]}; expected a whole number of at least 0")
    return int(text)


def flag_of(request: web.Request, name: str) -> bool:
    return request.query.get(name, "0") not in ("", "0", "false")


async def json_of(request: web.Request) -> Any:
    try:
        return await request.json()
    except (ValueError, RecursionError, LookupError) as error:
        raise ProtocolError(f"the body is not JSON: {error}") from None


async def body_of(request: web.Request, kind: type[Body]) -> Body:
    try:
        return kind.model_validate(await json_of(request))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ProtocolError(f"the body of {request.path}: {place}: {first['msg']}") from None
