"""Whether news can be told here, for `doctor`. The only address that is opened is the site's own mail server."""

from __future__ import annotations

import asyncio

from gpujobs.config.news import NotifyTable
from gpujobs.daemon.news.allowed import has_apprise
from gpujobs.jobfile.recipients import Way
from gpujobs.linux import sendmail

SERVER_SECONDS = 5.0


async def look(table: NotifyTable, seconds: float = SERVER_SECONDS) -> tuple[bool | None, str]:
    """Whether all is well (None: something cannot be told, and nothing is wrong with that), and what was found."""
    if not table.ways:
        return True, "this site tells no news ([notify] ways is empty)"
    ok, said = await _mail(table, seconds) if Way.MAIL in table.ways else (True, "")
    others = [way for way in table.ways if way not in (Way.MAIL, Way.APPRISE)]
    parts = [said, f"jobs may name {' and '.join(others)}" if others else ""]
    if Way.APPRISE in table.ways and not has_apprise():
        parts.append("other services need `pip install 'gpujobs[notify]'`")
    return ok, "; ".join(filter(None, parts))


async def _mail(table: NotifyTable, seconds: float) -> tuple[bool | None, str]:
    if table.server is None:
        found = sendmail.find()
        if found is None:
            return (
                None,
                "mail cannot be sent: no smtp in [notify] of gpujobs.toml, and no sendmail on this machine",
            )
        return True, f"mail goes by {found}"
    host, port = table.server
    problem = await _server_problem(host, port, seconds, is_encrypted=table.smtp_tls == "tls")
    if problem:
        return False, f"mail cannot be sent: {host}:{port} {problem}; [notify] smtp of gpujobs.toml names it"
    return True, f"mail goes by {host}:{port}"


async def _server_problem(host: str, port: int, seconds: float, *, is_encrypted: bool) -> str | None:
    """What is wrong with the first words of an SMTP server, if anything is."""
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(host, port, ssl=is_encrypted or None)
            try:
                greeting = await reader.readline()
                writer.write(b"QUIT\r\n")
            finally:
                writer.close()
    except TimeoutError:
        return f"did not answer within {seconds:g} s"
    except (OSError, ValueError) as error:
        return f"cannot be reached: {getattr(error, 'strerror', None) or error}"
    return None if greeting.startswith(b"220") else f"answers {greeting[:80]!r}, expected 220"
