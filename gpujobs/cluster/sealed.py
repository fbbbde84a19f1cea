"""Lines between the head and a box that joins: each is sealed with the cluster's secret, which never travels itself.

Either side first says a random text in the clear. A seal is HMAC-SHA256 over both texts, who speaks, which line it
is, and the line: nothing can be said by somebody without the secret, said again, left out, or turned back.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
from typing import TypeVar

from gpujobs.errors import MachineError, NotPermittedError
from gpujobs.protocol.codec import ShapeError, Tagged, loads
from gpujobs.protocol.joining import JOINING, Refused

T = TypeVar("T", bound=Tagged)

MAX_LINE_BYTES = 1 << 16
ANSWER_SECONDS = 15.0

NOT_OURS = "the token is not this cluster's: `gpujobs node token FILE` on the head's box writes the right one"


class Sealed:
    """`is_head`: which end this one is."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, secret: str, *, is_head: bool
    ) -> None:
        self._reader, self._writer, self._secret = reader, writer, secret.encode()
        self._own, self._other = ("head", "node") if is_head else ("node", "head")
        self._texts = b""
        self._said = self._heard = 0

    async def greet(self) -> None:
        """Exchanges the random texts. Raises MachineError where nobody of ours answers."""
        own = secrets.token_hex(16)
        self._writer.write(json.dumps({"gpujobs": own}).encode() + b"\n")
        await self._writer.drain()
        line = await self._line(ANSWER_SECONDS)
        try:
            other = loads(line).get("gpujobs")
        except ShapeError:
            other = None
        if not isinstance(other, str) or not 16 <= len(other) <= 64 or other == own:
            raise MachineError(f"what answers there is no head of gpujobs (it says {line[:40]!r})")
        pair = (own, other) if self._own == "head" else (other, own)
        self._texts = "/".join(pair).encode()

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
            return JOINING.parse(body)
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


class RefusedError(MachineError):
    """The head has looked at this box, and says why it may not join."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.message)
        self.again = refused.again
