"""Lines between the head and a box that joins: each is sealed with the cluster's secret, which never travels itself.

Either side first says a random text in the clear. A seal is HMAC-SHA256 over both texts, who speaks, which line it
is, and the line: nothing can be said by somebody without the secret, said again, left out, or turned back.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
from contextlib import suppress
from typing import TypeVar

from gpujobs.errors import MachineError, NotPermittedError
from gpujobs.protocol.codec import ShapeError, Tagged, loads
from gpujobs.protocol.joining import JOINING, Refused

T = TypeVar("T", bound=Tagged)

MAX_LINE_BYTES = 1 << 16
ANSWER_SECONDS = 15.0
CLOSING_SECONDS = 1.0
"""Within which the other end says its goodbye of TLS."""

WITHOUT_TLS = (
    "it lets in only who shows a certificate of its cluster, and this token file has none: "
    "`gpujobs node token FILE` on the head's box writes one that has"
)

NOT_OURS = "the token is not this cluster's: `gpujobs node token FILE` on the head's box writes the right one"


class Sealed:
    """`is_head`: which end this one is. `is_tls`: whether the head expects TLS, which it says in the clear too."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        secret: str,
        *,
        is_head: bool,
        is_tls: bool = False,
    ) -> None:
        self._reader, self._writer, self._secret = reader, writer, secret.encode()
        self._own, self._other = ("head", "node") if is_head else ("node", "head")
        self._is_head, self._is_tls = is_head, is_tls
        self._texts = b""
        self._said = self._heard = 0

    async def greet(self, seconds: float = ANSWER_SECONDS) -> None:
        """Exchanges the random texts. Raises MachineError where nobody of ours answers, NotPermittedError where a head
        expects TLS and we do not."""
        own = secrets.token_hex(16)
        if self._is_head:
            await self._say_text(own)
            line = await self._line(seconds)
        else:  # what it says first is heard: after TLS, it may be that this box is not let in
            line = await self._line(seconds) if self._is_tls else b""
            await self._say_text(own)
            line = line or await self._line(seconds)
        try:
            said = loads(line)
        except ShapeError:
            said = {}
        other = said.get("gpujobs")
        if not isinstance(other, str) or not 16 <= len(other) <= 64 or other == own:
            raise MachineError(f"what answers there is no head of gpujobs (it says {line[:40]!r})")
        if said.get("tls") is True and not self._is_tls and not self._is_head:
            raise NotPermittedError(WITHOUT_TLS)
        pair = (own, other) if self._own == "head" else (other, own)
        self._texts = "/".join(pair).encode()

    async def _say_text(self, own: str) -> None:
        self._writer.write(json.dumps({"gpujobs": own, "tls": self._is_tls}).encode() + b"\n")
        await self._writer.drain()

    async def say(self, message: Tagged) -> None:
        body = JOINING.encode(message)
        self._writer.write(self._seal(self._own, self._said, body).encode() + b" " + body + b"\n")
        self._said += 1
        await self._writer.drain()

    async def say_bare(self, message: Tagged) -> None:
        """To somebody who has not shown the secret, and need not: nothing of it is believed there."""
        self._writer.write(b"- " + JOINING.encode(message) + b"\n")
        await self._writer.drain()

    async def hear(self, seconds: float | None = ANSWER_SECONDS) -> Tagged:
        """Raises NotPermittedError where the other end lacks the secret, MachineError where nothing comes."""
        seal, _, body = (await self._line(seconds)).rstrip(b"\n").partition(b" ")
        if not hmac.compare_digest(seal, self._seal(self._other, self._heard, body).encode()):
            raise NotPermittedError(NOT_OURS)
        self._heard += 1
        try:
            return JOINING.parse(body, known_only=True)
        except ShapeError as error:
            raise MachineError(
                f"a line of the other box makes no sense ({error}); are both of one gpujobs?"
            ) from error

    async def expect(self, kind: type[T], seconds: float | None = ANSWER_SECONDS) -> T:
        """As `hear`; what the other end refuses is raised as a RefusedError."""
        said = await self.hear(seconds)
        if isinstance(said, Refused):
            raise RefusedError(said)
        if not isinstance(said, kind):
            raise MachineError(f"the other box says {said.tag}; expected {kind.tag}")
        return said

    def close(self) -> None:
        self._writer.close()

    async def closed(self) -> None:
        await ended(self._writer)

    async def _line(self, seconds: float | None) -> bytes:
        try:
            line = await asyncio.wait_for(self._reader.readline(), seconds)
        except TimeoutError:
            raise MachineError(f"nothing was heard for {seconds:g} s") from None
        except (OSError, ValueError) as error:
            raise MachineError(f"the connection is broken: {error}") from error
        if not line.endswith(b"\n"):
            raise MachineError("the connection was closed")
        return line

    def _seal(self, speaker: str, number: int, body: bytes) -> str:
        return hmac.new(
            self._secret, b"\n".join((self._texts, speaker.encode(), str(number).encode(), body)), "sha256"
        ).hexdigest()


async def ended(writer: asyncio.StreamWriter) -> None:
    """Closed, with what was said last sent, as far as the other end takes it within a moment."""
    writer.close()
    with suppress(OSError, TimeoutError):
        await asyncio.wait_for(writer.wait_closed(), 2 * CLOSING_SECONDS)


class RefusedError(MachineError):
    """The head has looked at this box, and says why it may not join."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.message)
        self.again = refused.again
