"""The table of gpujobs.toml about news."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from gpujobs.config.fields import Duration, PositiveDuration, Table
from gpujobs.jobfile.recipients import Way, is_address

Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$")]
HostPattern = Annotated[str, Field(pattern=r"^(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$")]
WAYS = tuple(map(str, Way))


def _server(value: object) -> object:
    """A host, or HOST:PORT."""
    if not isinstance(value, str):
        return value
    host, colon, port = value.rpartition(":")
    if colon and not (port.isascii() and port.isdecimal() and 0 < int(port) < 1 << 16):
        raise ValueError(_SERVER)
    if not re.fullmatch(r"[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]", host if colon else value):
        raise ValueError(_SERVER)
    return value


_SERVER = "expected the host of an SMTP server, or HOST:PORT, such as mail.example.org:25"


def _address(value: object) -> object:
    if isinstance(value, str) and not is_address(value):
        raise ValueError("expected an address such as gpujobs@example.org")
    return value


def _ways(value: object) -> object:
    if isinstance(value, list) and (wrong := [one for one in value if one not in WAYS]):
        raise ValueError(f"expected a list out of {', '.join(WAYS)}, without {wrong[0]!r}")
    return value


class NotifyTable(Table):
    """News: by which ways, to where, how often."""

    ways: Annotated[list[str], BeforeValidator(_ways)] = list(WAYS)
    """Those that job files and users may name."""

    smtp: Annotated[str | None, BeforeValidator(_server)] = None
    """HOST or HOST:PORT; without it mail goes by the machine's own `sendmail`."""

    smtp_tls: Literal["none", "starttls", "tls"] = "none"

    sender: Annotated[str | None, BeforeValidator(_address)] = None
    """Of mail; by default `gpujobs` at the name of this machine."""

    mail_domain: Host | None = None
    """`mail` in a job file is the user's name at this domain."""

    mail_domains: list[HostPattern] = []
    """Where mail may go; empty: anywhere."""

    url_schemes: list[Literal["http", "https"]] = ["http", "https"]
    url_hosts: list[HostPattern] = []
    """Where URLs may lead; empty: anywhere."""

    apprise_schemes: list[Annotated[str, Field(pattern=r"^[a-z][a-z0-9+.-]*$")]] = []
    """Of the services of apprise; empty: any."""

    per_hour: Annotated[int, Field(ge=1)] = 30
    """News of one user; what is more is not told."""

    timeout: PositiveDuration = 30
    """That one try may take."""

    retry_after: PositiveDuration = 30
    """Before the second try; each further pause is four times as long."""

    tries: Annotated[int, Field(ge=1, le=10)] = 5

    long_wait: Duration = 600
    """A start is news where the job has waited for longer."""

    before_limit: PositiveDuration = 600
    """So much before a time limit it is news, or a tenth of the limit, whichever is less."""

    @property
    def server(self) -> tuple[str, int] | None:
        if self.smtp is None:
            return None
        host, colon, port = self.smtp.rpartition(":")
        default = {"none": 25, "starttls": 587, "tls": 465}[self.smtp_tls]
        return (host.strip("[]"), int(port)) if colon else (self.smtp.strip("[]"), default)
