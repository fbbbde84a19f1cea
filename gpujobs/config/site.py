"""The tables of gpujobs.toml: what a site decides about its people and its devices.

`gpujobs.config.settings` reads the keys that say where things are, which a client needs too; this module reads the
rest, for the daemon and for `simulate`. Every table has a default, so that an empty file is a valid one. Those about
other boxes and about news are in files beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, get_args
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from gpujobs.config import file as configfile
from gpujobs.config.cluster import ClusterTable, NodesTable
from gpujobs.config.fields import Absolute, Duration, PositiveDuration, PositiveSize, Size, Table, text_of
from gpujobs.config.news import NotifyTable
from gpujobs.config.settings import TABLES, key_problem, listen_address, nearest_key
from gpujobs.errors import ConfigError, Problem
from gpujobs.policy.inputs.rules import (
    ForeignPolicy,
    Limits,
    PackingRules,
    PriorityRules,
    ReservationRules,
    Rules,
    Shares,
    UserLimits,
)

PRIORITY = PriorityRules()
PACKING = PackingRules()
RESERVATIONS = ReservationRules()
DAY = 86400
NEEDS_GROUP = "share_by_default needs a share_group"


def _policy(value: object) -> ForeignPolicy:
    if value not in list(ForeignPolicy):
        raise ValueError(f"expected one of {', '.join(ForeignPolicy)}")
    return ForeignPolicy(str(value))


Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
Uuid = Annotated[str, Field(pattern=r"^(GPU|MIG|CPU)-")]


class Access(Table):
    """Who may do what beyond their own jobs."""

    admin_group: str | None = None
    """The UNIX group whose members may act on anybody's jobs and on devices, as root may."""

    share_group: str | None = None
    """The UNIX group that reads the results of jobs which say `share: lab`."""

    share_by_default: bool = False
    """Whether a job file that says nothing means `share: lab`."""

    hide_names: bool = False
    """Whether the queue shows other people's jobs without their names."""

    @model_validator(mode="after")
    def _has_a_group_to_share_with(self) -> Access:
        if self.share_by_default and self.share_group is None:
            raise ValueError(NEEDS_GROUP)
        return self


class Quotas(Table):
    """How much of the daemon's machine one user may take. Sizes are bytes, or texts such as 20GiB."""

    data: Size = 100 << 30
    """Uploaded data of one user. What no job that has not ended uses gives way to what is new."""

    results: Size = 20 << 30
    """Results of one job."""

    log: Size = 256 << 20
    """The log of one attempt; what it prints beyond that is lost."""

    free_disk: Size = 2 << 30
    """No upload is taken while less than this is free: the store must stay writable."""

    connections: int = Field(default=64, ge=4, le=4096)
    """Open connections of one user at once."""


class Priority(Table):
    """See `policy.rules.PriorityRules`, as for the following tables."""

    weight_priority: Weight = PRIORITY.weight_priority
    weight_fair_share: Weight = PRIORITY.weight_fair_share
    weight_age: Weight = PRIORITY.weight_age
    max_age: PositiveDuration = int(PRIORITY.max_age_seconds)
    half_life: PositiveDuration = int(PRIORITY.half_life_seconds)
    charge_ahead: Duration = int(PRIORITY.charge_ahead_seconds)
    max_priority: int = PRIORITY.max_priority

    def rules(self) -> PriorityRules:
        return PriorityRules(
            self.weight_priority,
            self.weight_fair_share,
            self.weight_age,
            self.max_age,
            self.half_life,
            self.charge_ahead,
            self.max_priority,
        )


class ShareTable(Table):
    users: dict[str, Weight] = {}
    groups: dict[str, Weight] = {}


class LimitTable(Table):
    max_running: Count | None = None
    max_gpus: Count | None = None
    max_waiting: Count | None = None
    max_time_limit: PositiveDuration | None = None
    default_time_limit: PositiveDuration | None = None

    def rules(self) -> UserLimits:
        return UserLimits(
            self.max_running, self.max_gpus, self.max_waiting, self.max_time_limit, self.default_time_limit
        )


class LimitTables(LimitTable):
    users: dict[str, LimitTable] = {}
    groups: dict[str, LimitTable] = {}


class Packing(Table):
    margin: Size = PACKING.margin_bytes
    settle: Duration = int(PACKING.settle_seconds)
    max_jobs: Annotated[int, Field(ge=1)] = PACKING.max_jobs


class Foreign(Table):
    policy: Annotated[ForeignPolicy, BeforeValidator(_policy)] = ForeignPolicy.AVOID


class Devices(Table):
    exclude: list[Uuid] = []
    """UUIDs, as `gpujobs gpus --json` shows them."""


class Reservations(Table):
    default_length: PositiveDuration = int(RESERVATIONS.default_seconds)
    max_length: PositiveDuration = int(RESERVATIONS.max_seconds)
    max_ahead: PositiveDuration = int(RESERVATIONS.max_ahead_seconds)


class Retention(Table):
    """What is removed, and when. Ages count from the end of a job; None keeps for ever. Nothing goes that a job
    which has not ended needs."""

    results: PositiveDuration | None = None
    """Of completed jobs."""

    checkpoints: PositiveDuration | None = 30 * DAY
    """And whatever else failed and cancelled jobs have left on their node, but their logs."""

    logs: PositiveDuration | None = None
    """Of jobs that did not complete; those of completed ones are among the results."""

    data: PositiveDuration | None = 30 * DAY
    """Uploaded data, from the end of the last job that used it."""

    jobs: PositiveDuration | None = None
    """Ended jobs with their history, when nothing else of them is left. What they used still counts for fair share."""

    results_size: PositiveSize | None = None
    """Of one user: the oldest go while all of them take more; so for the following two."""

    checkpoints_size: PositiveSize | None = None
    data_size: PositiveSize | None = None

    daemon_logs: PositiveSize = 16 << 20
    """One log of the daemon's own processes; one older copy of each is kept."""


def _listen(text: str) -> None:
    if text:
        listen_address(text)


def _url(value: object) -> object:
    parts = urlsplit(value) if isinstance(value, str) else None
    if parts is not None and (
        parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/")
    ):
        raise ValueError(
            "expected the address that people use, such as https://gpu.example.org, without a path"
        )
    return value


class WebTable(Table):
    """The pages and `/metrics`."""

    listen: Annotated[str | None, text_of(_listen)] = None
    """ADDRESS:PORT; empty for none. None is 127.0.0.1:8470 for a site's daemon, a free port for a personal one."""

    url: Annotated[str | None, BeforeValidator(_url)] = None
    """Under which people reach them, where a proxy is in front."""

    proxy_user: str | None = None
    """The UNIX user that the proxy runs as, where it is on this machine."""

    users_in_metrics: bool = False
    """Whether `/metrics`, which asks nobody who they are, says what each user has used."""


class Trainers(Table):
    """The processes that train."""

    resident: bool = True
    """Whether one that has completed a job takes over the next of its user's on its device, where both build the same
    model."""


class Metrics(Table):
    """For programs that measure the machine."""

    dcgm_job_mapping: Absolute | None = None
    """The directory in which dcgm-exporter (`--hpc-job-mapping-dir`) looks for the jobs of each GPU."""


class SiteConfig(Table):
    access: Access = Access()
    quotas: Quotas = Quotas()
    priority: Priority = Priority()
    shares: ShareTable = ShareTable()
    limits: LimitTables = LimitTables()
    packing: Packing = Packing()
    foreign: Foreign = Foreign()
    devices: Devices = Devices()
    reservations: Reservations = Reservations()
    retention: Retention = Retention()
    web: WebTable = WebTable()
    cluster: ClusterTable = ClusterTable()
    nodes: NodesTable = NodesTable()
    trainers: Trainers = Trainers()
    metrics: Metrics = Metrics()
    notify: NotifyTable = NotifyTable()

    def rules(self) -> Rules:
        """What the policy goes by."""
        kept = self.reservations
        return Rules(
            priority=self.priority.rules(),
            shares=Shares(self.shares.users, self.shares.groups),
            limits=Limits(
                self.limits.rules(),
                {user: limits.rules() for user, limits in self.limits.users.items()},
                {group: limits.rules() for group, limits in self.limits.groups.items()},
            ),
            packing=PackingRules(self.packing.margin, self.packing.settle, self.packing.max_jobs),
            foreign=self.foreign.policy,
            reservations=ReservationRules(kept.default_length, kept.max_length, kept.max_ahead),
            excluded=frozenset(self.devices.exclude),
            names_people=not self.access.hide_names,
        )


def read(path: Path | None) -> SiteConfig:
    """Raises ConfigError with every mistake of the file, each with its line."""
    if path is None or not path.exists():
        return SiteConfig()
    text = configfile.read(path)
    site, problems = checked(text)
    if site is None or problems:
        raise ConfigError(problems)
    return site


def checked(text: configfile.ConfigText) -> tuple[SiteConfig | None, list[Problem]]:
    """The tables, None where they make no sense, and all that is wrong with the file, by line."""
    problems = list(text.problems)
    for key, value in text.values.items():
        if message := key_problem(key, value):
            problems.append(text.problem((key,), message))
    site = None
    try:
        site = SiteConfig.model_validate({k: v for k, v in text.values.items() if k in TABLES})
    except ValidationError as error:
        problems += [text.problem(one["loc"], _describe(one)) for one in error.errors(include_url=False)]
        problems += _unshared(text, problems)
    return site, sorted(problems, key=lambda problem: problem.line or 0)


def _unshared(text: configfile.ConfigText, known: list[Problem]) -> list[Problem]:
    """What concerns two keys of a table is not looked at by pydantic where one of its keys is wrong."""
    access = text.values.get("access")
    if not isinstance(access, dict) or access.get("share_by_default") is not True or "share_group" in access:
        return []
    message = f"access: {NEEDS_GROUP}"
    return [] if any(NEEDS_GROUP in one.message for one in known) else [text.problem(("access",), message)]


def _describe(error: Any) -> str:
    place = ".".join(map(str, error["loc"]))
    if error["type"] == "value_error":
        value = "" if isinstance(error["input"], dict) else f" is {error['input']!r}"
        return f"{place}{value}: {error['ctx']['error']}"
    if error["type"] == "extra_forbidden":
        return f"unknown key {place}{nearest_key(str(error['loc'][-1]), _fields(error['loc'][:-1]))}"
    return f"{place} is {_shown(error['input'])}: {_expected(error)}"


_EXPECTED = {
    "string_type": "text in quotes",
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "list_type": "a list in brackets",
    "dict_type": "a table of names and values",
    "model_type": "a table, whose keys stand below a heading in brackets",
    "literal_error": "{expected}",
    "string_pattern_mismatch": "a UUID that begins with GPU-, MIG- or CPU-, as `gpujobs gpus --json` shows them",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
}
"""What pydantic's kinds of errors mean to a person."""

_NAMES = {
    "mail_domains": "the name of a domain such as example.org, or *.example.org",
    "url_hosts": "the name of a host such as hooks.example.org, or *.example.org",
    "apprise_schemes": "what a URL of apprise begins with, such as slack",
}


def _expected(error: Any) -> str:
    if error["type"] == "string_pattern_mismatch" and error["loc"][0] == "notify":
        return "expected " + _NAMES.get(error["loc"][1], "the name of a host such as example.org")
    if text := _EXPECTED.get(error["type"]):
        return "expected " + text.format(**error.get("ctx", {}))
    message = error["msg"].removeprefix("Value error, ")
    return f"{message[0].lower()}{message[1:]}"


def _shown(value: object) -> str:
    return "a table" if isinstance(value, dict) else repr(value)


def _fields(location: tuple[int | str, ...]) -> list[str]:
    """The keys that the table at a location has."""
    table: Any = SiteConfig
    for part in location:
        field = getattr(table, "model_fields", {}).get(part)
        # Below `users` and `groups`, any name leads to a table of the same kind.
        table = (get_args(table) or (None,))[-1] if field is None else field.annotation
    return list(getattr(table, "model_fields", ()))
