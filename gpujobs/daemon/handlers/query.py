"""Reading what a request carries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar
from urllib.parse import unquote

from aiohttp import web
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from gpujobs.daemon.jobs.references import Choice, Chosen, Reference
from gpujobs.daemon.keys import JOB_QUERIES, caller_of
from gpujobs.errors import ProtocolError, UsageError
from gpujobs.model import State, from_iso

MAX_DIGITS = 18
"""Of numbers below 2**63, as the store's are."""

MAX_GLOB = 200

Body = TypeVar("Body", bound=BaseModel)


class ConditionsBody(BaseModel):
    """What jobs are chosen by, besides their ids."""

    model_config = ConfigDict(extra="forbid", strict=True)
    user: str | None = None
    mine: bool = False
    name: str | None = Field(default=None, max_length=MAX_GLOB)
    state: str | None = None
    since: Annotated[AwareDatetime, Field(strict=False)] | None = None

    def choice(self, references: Sequence[Reference] = ()) -> Choice:
        return Choice(references, self.user, self.mine, self.name, states_of(self.state), self.since)


def choice_of(request: web.Request) -> Choice:
    """`?ids=7,60-65,g12,NAME&user=&mine=1&name=GLOB&state=A,B&since=INSTANT`; the names of groups are
    percent-encoded once more for their commas."""
    text = request.query.get("ids")
    given = {key: request.query[key] for key in ("user", "name", "state", "since") if key in request.query}
    conditions = validated(ConditionsBody, {**given, "mine": flag_of(request, "mine")}, request.path)
    return conditions.choice(() if text is None else [unquote(one) for one in text.split(",")])


async def chosen_of(request: web.Request, *, own: bool = False) -> Chosen | None:
    """The jobs that `ids` names, as far as the conditions beside it let them; None where there is no `ids`. `own`:
    also those that the conditions alone choose; see `choose`. Raises UsageError for one that does not exist."""
    choice = choice_of(request)
    if not choice.references and not (own and choice.has_conditions):
        return None
    return await request.app[JOB_QUERIES].chosen(caller_of(request), choice, own=own)


def states_of(text: str | None) -> frozenset[State]:
    """Raises UsageError."""
    if not text:
        return frozenset()
    try:
        return frozenset(State(name.strip().upper()) for name in text.split(","))
    except ValueError:
        raise UsageError(f"--state {text}: expected states out of {', '.join(State)}") from None


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
    return validated(kind, await json_of(request), request.path)


def validated(kind: type[Body], value: Any, path: str) -> Body:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ProtocolError(f"the body of {path}: {place}: {first['msg']}") from None


def instant_in(request: web.Request, name: str) -> datetime | None:
    """None where it is not given. Raises UsageError for what is no instant with a zone."""
    text = request.query.get(name)
    try:
        found = from_iso(text)
    except ValueError:
        found = None
    if text is not None and (found is None or found.tzinfo is None):
        raise UsageError(f"{name} is {text!r}; expected an instant such as 2026-12-24T18:30:00Z")
    return found
