"""What the program is told that tells one recipient."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass

from gpujobs.config.news import NotifyTable
from gpujobs.daemon.in_force import InForce
from gpujobs.daemon.news import allowed
from gpujobs.daemon.news.words import Words
from gpujobs.jobfile.recipients import Recipient, Way
from gpujobs.protocol.news import Delivery, MailServer
from gpujobs.protocol.spec import Identity


@dataclass(frozen=True, slots=True)
class Orders:
    in_force: InForce
    state_id: str
    identity: Callable[[int, int], Identity]
    """Of a uid and a gid. Raises LaunchError where there is no such user any more."""

    @property
    def host(self) -> str:
        return socket.gethostname()

    def message_id(self, number: object) -> str:
        """The same at each try, and of no other news of any daemon."""
        return f"<news-{number}-{self.state_id[:12]}@{self.host}>"

    def order(self, to: Recipient, user: str, uid: int, gid: int, message_id: str, words: Words) -> Delivery:
        table = self.in_force.site.notify
        return Delivery(
            identity=self.identity(uid, gid),
            user=user,
            way=to.way.value,
            to=(allowed.address_of(to, user, table),) if to.way is Way.MAIL else to.to,
            message_id=message_id,
            subject=words.subject,
            text=words.text,
            news=words.news,
            environment={**words.environment, "GPUJOBS_SOCKET": str(self.in_force.settings.socket)},
            sender=allowed.sender_of(table),
            server=server_of(table),
            timeout_seconds=float(table.timeout),
        )


def server_of(table: NotifyTable) -> MailServer | None:
    return None if table.server is None else MailServer(*table.server, table.smtp_tls)
