"""News by whatever service the package apprise knows; it is an extra (`gpujobs[notify]`), imported here alone."""

from __future__ import annotations

from gpujobs.protocol.news import Delivery, Outcome
from gpujobs.sender import failed, sent


def load(order: Delivery) -> None:
    import apprise

    # All services are imported now. What its user has named is not looked at before their rights are taken.
    apprise.Apprise().add("json://localhost")


def send(order: Delivery) -> Outcome:
    import apprise

    service = apprise.Apprise()
    if not service.add(order.to[0]):
        return failed("apprise does not know such a URL", again=False)
    if not service.notify(title=order.subject, body=order.text):
        return failed("apprise could not send it")
    return sent("apprise has sent it")
