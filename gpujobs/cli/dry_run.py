"""What a gpujobs.toml would mean, before a daemon reads it: `gpujobs doctor --config FILE`."""

from __future__ import annotations

import grp
import pwd
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from gpujobs.cli.output import duration, size
from gpujobs.config import file
from gpujobs.config.news import NotifyTable
from gpujobs.config.settings import KEYS, resolve
from gpujobs.config.site import LimitTable, LimitTables, Retention, SiteConfig, checked

Finding = tuple[str, bool | None, str]
"""Name, whether it is well (None: to know), message."""


def findings(path: Path) -> tuple[list[Finding], bool]:
    """What there is to say, and whether a daemon would take the file."""
    text = file.read(path)
    site, problems = checked(text)
    if site is None or problems:
        return [("configuration", False, str(problem)) for problem in problems], False
    found: list[Finding] = [("configuration", True, f"{path} has no mistakes")]
    return [*found, *_meaning(path, text.values, site)], True


def _meaning(path: Path, values: Mapping[str, object], site: SiteConfig) -> Iterator[Finding]:
    settings = resolve({"config": str(path)}, mode="site")
    yield from _places(settings.state_dir, settings.socket)
    for key in sorted(KEYS.keys() & values.keys() - {"state_dir", "socket"}):
        yield key, None, str(values[key]).lower()
    yield from _access(site)
    yield from _limits(site.limits)
    yield from _shares(site)
    yield from _quotas(site, settings.state_dir)
    yield from _reservations(site)
    yield from _devices(site)
    yield "retention", None, _retention(site.retention)
    yield "notify", None, _news(site.notify)
    yield from _pages(site)
    yield from _metrics(site)


def _pages(site: SiteConfig) -> Iterator[Finding]:
    web = site.web
    where = "127.0.0.1:8470" if web.listen is None else web.listen
    reached = f", which people reach as {web.url}" if web.url else ""
    yield "web", None, f"pages on {where}{reached}" if where else "no pages, and no /metrics"
    if web.proxy_user is None:
        return
    if not is_user(web.proxy_user):
        message = (
            f"{web.proxy_user} is not a user of this machine, so that a proxy is refused; correct the name"
        )
        yield "web.proxy_user", False, message
    else:
        yield "web.proxy_user", None, f"a proxy that runs as {web.proxy_user} brings what people ask for"


def _metrics(site: SiteConfig) -> Iterator[Finding]:
    if (named := site.metrics.dcgm_job_mapping) is None:
        return
    try:
        is_open = bool(Path(named).stat().st_mode & 0o022)
    except OSError:
        is_open = False  # the daemon makes it
    said = (
        "others may write there; `chmod 755` it"
        if is_open
        else "has a file for each GPU, with the jobs on it"
    )
    yield "metrics.dcgm_job_mapping", False if is_open else None, f"{named} {said}"


def _places(state: Path, socket: Path) -> Iterator[Finding]:
    nearest = next(parent for parent in (state, *state.parents) if parent.exists())
    if not nearest.is_dir():
        yield "state_dir", False, f"{nearest} is no directory; expected a place for {state}"
    else:
        yield "state_dir", None, f"{state}, with {size(shutil.disk_usage(nearest).free)} free"
    yield "socket", None, str(socket)


def _access(site: SiteConfig) -> Iterator[Finding]:
    access = site.access
    yield from _group("access.admin_group", access.admin_group, "may act on anybody's jobs and on devices")
    if access.admin_group is None:
        yield "access.admin_group", None, "none: root alone acts on other people's jobs and on devices"
    yield from _group("access.share_group", access.share_group, "reads what says `share: lab`")
    if access.share_by_default:
        yield "access.share_by_default", None, "a job file that does not say `share` shares with that group"
    if access.hide_names:
        yield "access.hide_names", None, "the queue shows other people's jobs without names"


def _group(key: str, name: str | None, right: str) -> Iterator[Finding]:
    if name is None:
        return
    if not is_group(name):
        yield (
            key,
            False,
            f"{name} is not a group of this machine; `groupadd {name}` makes it, or correct the name",
        )
        return
    members = sorted(_members(name))
    shown = ", ".join(members[:10]) + (" and others" if len(members) > 10 else "")
    yield key, None, f"{name} {right}; its members: {shown or 'nobody yet'}"


def _members(name: str) -> set[str]:
    entry = grp.getgrnam(name)
    return {*entry.gr_mem, *(user.pw_name for user in pwd.getpwall() if user.pw_gid == entry.gr_gid)}


def is_user(name: str) -> bool:
    return _exists(pwd.getpwnam, name)


def is_group(name: str) -> bool:
    return _exists(grp.getgrnam, name)


def _exists(lookup: Callable[[str], object], name: str) -> bool:
    try:
        lookup(name)
    except (KeyError, ValueError):
        return False
    return True


def _news(table: NotifyTable) -> str:
    if not table.ways:
        return "nobody is told any news"
    said = {
        "mail": f"mail by {table.smtp or 'the sendmail of the machine'}",
        "url": f"URLs at {', '.join(table.url_hosts) or 'any host'}",
        "command": "commands of users, with their rights",
    }
    ways = [said.get(way, f"other services by {way}") for way in table.ways]
    return f"news by {'; '.join(ways)}; at most {table.per_hour} to one user within an hour"


def _limits(tables: LimitTables) -> Iterator[Finding]:
    yield _limit("limits", "everybody", tables)
    for name, table in tables.groups.items():
        yield _named(f"limits.groups.{name}", "group", name) or _limit(
            f"limits.groups.{name}", "each member of it", _over(tables, table)
        )
    for name, table in tables.users.items():
        yield _named(f"limits.users.{name}", "user", name) or _limit(
            f"limits.users.{name}", name, _over(tables, table)
        )


def _over(default: LimitTable, table: LimitTable) -> LimitTable:
    """A value that is not named for somebody is everybody's."""
    named = {key: value for key, value in table.model_dump().items() if value is not None}
    return LimitTable.model_validate({**{k: getattr(default, k) for k in LimitTable.model_fields}, **named})


def _named(key: str, kind: str, name: str) -> Finding | None:
    """What is wrong with the name of a user or a group, if anything is."""
    if (is_user if kind == "user" else is_group)(name):
        return None
    return (
        key,
        False,
        f"{name} is not a {kind} of this machine, so that this counts for nobody; correct the name",
    )


def _limit(key: str, whom: str, table: LimitTable) -> Finding:
    longest, default = table.max_time_limit, table.default_time_limit
    if longest is not None and default is not None:
        default = min(longest, default)
    parts = [
        _count(table.max_running, "running job", "at once"),
        _count(table.max_gpus, "device", "at once"),
        _count(table.max_waiting, "waiting job", ""),
        "" if longest is None else f"a time limit of at most {_time(longest)}",
        "" if default is None else f"{_time(default)} where a job names none",
    ]
    said = ", ".join(part for part in parts if part)
    return key, None, f"{whom}: {said or 'no limits'}"


def _time(seconds: float) -> str:
    return duration(seconds).removesuffix(" 00:00")


def _count(number: int | None, what: str, when: str) -> str:
    if number is None:
        return ""
    return f"{number} {what}{'' if number == 1 else 's'} {when}".strip()


def _shares(site: SiteConfig) -> Iterator[Finding]:
    for kind, weights in (("group", site.shares.groups), ("user", site.shares.users)):
        for name, weight in weights.items():
            key = f"shares.{kind}s.{name}"
            meaning = f"entitled to {weight:g} times what one who is not named here is"
            yield _named(key, kind, name) or (key, None, meaning)


def _quotas(site: SiteConfig, state: Path) -> Iterator[Finding]:
    quotas = site.quotas
    yield (
        "quotas", None,
        f"of one user {size(quotas.data)} of uploaded data and {quotas.connections} connections; of one job "
        f"{size(quotas.results)} of results, {size(quotas.log)} of log for each attempt",
    )  # fmt: skip
    nearest = next(parent for parent in (state, *state.parents) if parent.exists())
    total = shutil.disk_usage(nearest).total
    if quotas.free_disk >= total:
        yield (
            "quotas.free_disk", False,
            f"{size(quotas.free_disk)} are to stay free, the disk has {size(total)}: no upload would be taken",
        )  # fmt: skip


def _reservations(site: SiteConfig) -> Iterator[Finding]:
    kept = site.reservations
    if kept.default_length > kept.max_length:
        yield (
            "reservations.default_length", False,
            f"{_time(kept.default_length)}; expected at most the max_length of {_time(kept.max_length)}: "
            "each one that names no end would be refused",
        )  # fmt: skip
        return
    yield (
        "reservations", None,
        f"{_time(kept.default_length)} where no end is named, at most {_time(kept.max_length)}, "
        f"beginning at most {_time(kept.max_ahead)} from now",
    )  # fmt: skip


def _devices(site: SiteConfig) -> Iterator[Finding]:
    if not site.devices.exclude:
        return
    from gpujobs.node.probe import read_once

    known = {device.uuid: device for device in read_once().devices}
    for uuid in site.devices.exclude:
        device = known.get(uuid)
        found = f"{device.kind} {device.index} ({device.name}) gets no jobs" if device else None
        yield "devices.exclude", None if found else False, found or f"{uuid} is not a device of this machine"


def _retention(rules: Retention) -> str:
    parts = [
        f"{kind} after {_time(age)}"
        for kind in ("results", "checkpoints", "logs", "data", "jobs")
        if (age := getattr(rules, kind)) is not None
    ]
    parts += [
        f"the oldest {kind} of a user above {size(limit)}"
        for kind in ("results", "checkpoints", "data")
        if (limit := getattr(rules, f"{kind}_size")) is not None
    ]
    return "removed once a day: " + ("; ".join(parts) or "nothing")
