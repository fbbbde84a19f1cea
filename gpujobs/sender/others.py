"""News by whatever service the package apprise knows; it is an extra (`gpujobs[notify]`), imported here alone."""

from __future__ import annotations

from gpujobs.protocol.news import Delivery, Outcome
from gpujobs.sender import failed, sent


def load(order: Delivery) -> None:
    import apprise

    apprise.Apprise().add(order.to[0])  # the service's own module is found now


def send(order: Delivery) -> Outcome:
    import apprise

    service = apprise.Apprise()
    if not service.add(order.to[0]):
        return failed("apprise does not know such a URL", again=False)
    if not service.notify(title=order.subject, body=order.text):
        return failed("apprise could not send it")
    return sent("apprise has sent it")
