"""What is typed after `/`: `mine`, `all`, `user=ann`, `state=RUNNING,PENDING`, `name=lstm-*`; any other word is a part
of a name."""

from __future__ import annotations

from gpujobs.errors import UsageError
from gpujobs.model import State

HELP = "mine, all, user=ann, state=RUNNING,PENDING, name=lstm-*, or a part of a name"
WORDS = ("mine", "all")
KEYS = ("user", "state", "name")
GLOB = frozenset("*?[")

Query = dict[str, object]
"""As `GET /v1/queue` takes it."""


def parsed(text: str) -> Query:
    """Raises UsageError for what is none of these."""
    query: Query = {}
    for word in text.split():
        key, value = _pair(word)
        if key in query:
            raise UsageError(f"{key} is given twice; expected it once")
        query[key] = value
    return query


def _pair(word: str) -> tuple[str, object]:
    key, is_pair, value = word.partition("=")
    if word in WORDS:
        return word, True
    if not is_pair:
        return "name", word if GLOB & set(word) else f"*{word}*"
    if key not in KEYS or not value:
        raise UsageError(f"{word!r} is no filter; expected {HELP}")
    return key, _states(value) if key == "state" else value


def _states(value: str) -> str:
    named = value.upper().split(",")
    for one in named:
        if one not in State.__members__:
            raise UsageError(f"there is no state {one}; expected one of {', '.join(State.__members__)}")
    return ",".join(named)
