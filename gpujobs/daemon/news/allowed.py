"""Which news a site lets its people have told, and where to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from gpujobs.config.news import NotifyTable
from gpujobs.daemon.jobs.submissions import Prepared
from gpujobs.errors import JobFileError, Problem, UsageError
from gpujobs.jobfile.reader import Path
from gpujobs.jobfile.recipients import OWN_MAIL, Recipient, Way, recipient, recipients_of, wish
from gpujobs.model import Caller

KINDS = {Way.MAIL: "mail", Way.URL: "URLs", Way.COMMAND: "commands", Way.APPRISE: "URLs of other services"}


def refusal(one: Recipient, table: NotifyTable) -> str | None:
    """Why this recipient is told nothing here; None where nothing speaks against it."""
    if one.way not in table.ways:
        return f"this site tells nothing by {KINDS[one.way]}; it does by {', '.join(table.ways) or 'nothing at all'}"
    match one.way:
        case Way.MAIL:
            return _refused_mail(one, table)
        case Way.URL:
            return _refused_url(one, table)
        case Way.APPRISE:
            return _refused_service(one, table)
    return None


def _refused_mail(one: Recipient, table: NotifyTable) -> str | None:
    domain = one.to[0].rpartition("@")[2]
    if one.to == (OWN_MAIL,) or not table.mail_domains or _matches(domain, table.mail_domains):
        return None
    return f"this site sends mail to {', '.join(table.mail_domains)} only"


def _refused_url(one: Recipient, table: NotifyTable) -> str | None:
    parts = urlsplit(one.to[0])
    if parts.scheme not in table.url_schemes:
        return f"this site allows URLs of {', '.join(table.url_schemes) or 'no scheme'} only"
    if table.url_hosts and not _matches(parts.hostname or "", table.url_hosts):
        return f"this site allows URLs at {', '.join(table.url_hosts)} only"
    return None


def _refused_service(one: Recipient, table: NotifyTable) -> str | None:
    scheme = one.to[0].partition("://")[0]
    if table.apprise_schemes and scheme not in table.apprise_schemes:
        return f"this site allows {', '.join(f'{name}://' for name in table.apprise_schemes)} only"
    if not has_apprise():
        return f"{scheme}:// needs apprise, which is not installed here: `pip install 'gpujobs[notify]'`"
    return None


def has_apprise() -> bool:
    """It is looked for, and never imported here."""
    return find_spec("apprise") is not None


def _matches(name: str, patterns: Sequence[str]) -> bool:
    """`*.example.org` means all below it, and not example.org itself."""
    name = name.lower().rstrip(".")
    return any(
        name.endswith(pattern[1:].lower()) if pattern.startswith("*.") else name == pattern.lower()
        for pattern in patterns
    )


def check_files(prepared: Sequence[Prepared], table: NotifyTable, caller: Caller) -> None:
    """Raises JobFileError with each recipient that the site does not allow, at its line. A cookie is no reason to have
    a command run, which its user could do otherwise."""
    problems: list[Problem] = []
    for job in prepared:
        notify = job.resolved.resolved.get("notify")
        refused = [*_refused(notify or {}, table)]
        if caller.is_on_page and notify and notify.get("command"):
            refused.append(
                (("command",), notify["command"][0], "from a page no command is named; `gpujobs submit` does")
            )
        for path, shown, why in refused:
            line = job.resolved.line_near(("notify", *path))
            where = "notify." + "".join(f"[{part}]" if isinstance(part, int) else part for part in path)
            problems.append(Problem(job.file.path, line, f"{where} is {shown}: {why}."))
    if problems:
        raise JobFileError(list(dict.fromkeys(problems)))


def check_setting(setting: Mapping[str, Any], table: NotifyTable) -> None:
    """Raises UsageError."""
    if found := [f"{shown}: {why}" for _, shown, why in _refused(setting, table)]:
        raise UsageError("\n".join(found))


def _refused(notify: Mapping[str, Any], table: NotifyTable) -> Iterator[tuple[Path, str, str]]:
    """(place within `notify`, what stands there, why it is refused)."""
    for number, text in enumerate(notify.get("to") or ()):
        if why := refusal(recipient(text), table):
            yield ("to", number), text, why
    for one in recipients_of({"command": notify.get("command")}):
        if why := refusal(one, table):
            yield ("command",), one.to[0], why


def sentence(notify: Mapping[str, Any] | None, setting: Mapping[str, Any] | None, table: NotifyTable) -> str:
    """Who will be told of what of a job, for people."""
    found = wish(notify, setting)
    if found is None:
        return "nobody; `notify:` in a job file, or `gpujobs notify` for all of your jobs, names somebody"
    lost = [f"{one.shown} is told nothing: {why}" for one in found.recipients if (why := refusal(one, table))]
    return "; ".join([found.sentence, *lost])


def address_of(one: Recipient, user: str, table: NotifyTable) -> str:
    """Of a recipient by mail. A user's own mailbox is at the site's domain, or, without one, at this machine: whoever
    sends it knows its whole name, for which the daemon would have to wait."""
    if one.to != (OWN_MAIL,):
        return one.to[0]
    return f"{user}@{table.mail_domain}" if table.mail_domain else user


def sender_of(table: NotifyTable) -> str:
    return table.sender or "gpujobs"
