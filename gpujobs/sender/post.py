"""News by a POST of JSON. Where the other side sends one elsewhere, nobody goes."""

from __future__ import annotations

import http.client
import json
import re
import ssl
from urllib.parse import unquote, urlsplit

from gpujobs import __version__
from gpujobs.protocol.news import Delivery, Outcome
from gpujobs.sender import failed, line_of, sent, words_of

MAX_ANSWER_BYTES = 1 << 14

SHORT = 6
"""A part of a URL that has fewer characters is no secret."""

FOR_NOW = (408, 425, 429)
"""Refusals that may be none a little later; so are those from 500 on."""


def load(order: Delivery) -> None:
    import encodings.idna  # noqa: F401 - names of hosts want it


def send(order: Delivery) -> Outcome:
    try:
        status, said = _post(order)
    except (OSError, http.client.HTTPException) as error:
        return failed(words_of(error), again=not isinstance(error, ssl.SSLCertVerificationError))
    if 200 <= status < 300:
        return sent(f"answered {status}")
    if 300 <= status < 400:
        return failed(f"answered {status}: it is elsewhere, and redirections are not followed", again=False)
    return failed(f"answered {status} {said}", again=status in FOR_NOW or status >= 500)


def _post(order: Delivery) -> tuple[int, str]:
    parts = urlsplit(order.to[0])
    assert parts.hostname is not None
    if parts.scheme == "https":
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=order.timeout_seconds, context=ssl.create_default_context()
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=order.timeout_seconds)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"gpujobs/{__version__}",
        "Idempotency-Key": order.message_id.strip("<>"),
        "Connection": "close",
    }
    try:
        connection.request("POST", target, json.dumps(order.news).encode(), headers)
        answer = connection.getresponse()
        said = answer.read(MAX_ANSWER_BYTES).decode(errors="replace")
        return answer.status, line_of(without_secrets(said, order.to[0]))
    finally:
        connection.close()


def without_secrets(said: str, url: str) -> str:
    """Many a server says which path it does not know. The history, which others may read, has what it says."""
    parts = urlsplit(url)
    written = {part for whole in (parts.path, parts.query) for part in (whole, *re.split("[/&=;]", whole))}
    for part in sorted(written | {unquote(one) for one in written}, key=len, reverse=True):
        said = said.replace(part, "…") if len(part) >= SHORT else said
    return said
