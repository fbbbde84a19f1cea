"""News as handlers see them: what a user wants to be told of, and whether it can be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any

from gpujobs.config.news import NotifyTable
from gpujobs.daemon.in_force import InForce
from gpujobs.daemon.news import allowed
from gpujobs.daemon.news.orders import Orders
from gpujobs.daemon.news.sending import deliver
from gpujobs.daemon.news.words import test_words
from gpujobs.daemon.writer import StoreWriter
from gpujobs.errors import LaunchError, UsageError
from gpujobs.jobfile.recipients import Recipient, wish
from gpujobs.model import Caller, utc_now
from gpujobs.protocol.news import Outcome
from gpujobs.store.store import Store

HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class NewsService:
    store: Store
    writer: StoreWriter
    in_force: InForce
    orders: Orders
    tests: dict[int, list[float]] = field(default_factory=dict)
    """By uid, when the last ones were."""

    @property
    def table(self) -> NotifyTable:
        return self.in_force.site.notify

    def setting(self, caller: Caller) -> dict[str, Any] | None:
        return self.store.news.setting(caller.uid)

    def sentence(self, caller: Caller) -> str:
        return allowed.sentence(None, self.setting(caller), self.table)

    async def set(self, caller: Caller, setting: Mapping[str, Any] | None) -> None:
        """Raises UsageError for a recipient that the site does not allow."""
        if setting is not None:
            allowed.check_setting(setting, self.table)
        await self.writer.patient(
            lambda: self.writer.do(lambda store: store.news.set_setting(caller.uid, setting))
        )

    async def test(self, caller: Caller) -> list[tuple[Recipient, Outcome]]:
        """Tells everybody whom the caller has named that this is a test. Raises UsageError where there is nobody."""
        wanted = wish(None, self.setting(caller))
        if wanted is None:
            raise UsageError("you have named nobody to be told; `gpujobs notify --on failure --to mail` does")
        self._count(caller, len(wanted.recipients))
        tried = await asyncio.gather(*(self._test(caller, one) for one in wanted.recipients))
        return list(zip(wanted.recipients, tried, strict=True))

    def _count(self, caller: Caller, recipients: int) -> None:
        """A test counts as so many news. Raises UsageError where that makes too many."""
        now, recent = time.monotonic(), self.tests.setdefault(caller.uid, [])
        recent[:] = [at for at in recent if now - at < HOUR]
        so_far = len(recent) + self.store.news.made_since(caller.uid, utc_now())
        if so_far + recipients > self.table.per_hour:
            raise UsageError(
                f"you were told {so_far} times within an hour, and this test would tell {recipients} recipients; "
                f"this site tells nobody more than {self.table.per_hour} times: try later, or name fewer"
            )
        recent += [now] * recipients

    async def _test(self, caller: Caller, one: Recipient) -> Outcome:
        if why := allowed.refusal(one, self.table):
            return Outcome(False, False, why)
        message_id = self.orders.message_id(f"test-{token_hex(6)}")
        said = test_words(caller.user, self.orders.host, message_id)
        try:
            return await deliver(
                self.orders.order(one, caller.user, caller.uid, caller.gid, message_id, said)
            )
        except LaunchError as error:
            return Outcome(False, False, error.message)
