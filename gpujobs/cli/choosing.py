"""How jobs are chosen, wherever a command takes some: by number, range or group, and by conditions."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from gpujobs.cli.app import Reference
from gpujobs.cli.times import PAST

if TYPE_CHECKING:
    from gpujobs.client import Client

CONDITIONS = ("user", "mine", "name", "state", "since")
OPTIONS = {"user": "--user", "mine": "--mine", "name": "--name", "state": "--state", "since": "--since"}
HOW = "ids (7), ranges (60-65), groups (g60, NAME), or --mine, --user, --name, --state, --since"


@dataclass(frozen=True, slots=True)
class Selection:
    """As the caller has said it; the daemon looks up whose and which these are."""

    ids: tuple[int | str, ...] = ()
    conditions: dict[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.ids or self.conditions)

    def __str__(self) -> str:
        said = [str(one) for one in self.ids]
        for key, value in self.conditions.items():
            said.append(OPTIONS[key] if value is True else f"{OPTIONS[key]} {value}")
        return " ".join(said)

    @property
    def query(self) -> dict[str, Any]:
        return {"ids": list(self.ids), **self.conditions}

    @property
    def body(self) -> dict[str, Any]:
        return {
            "ids": list(dict.fromkeys(self.ids)),
            **({"choose": self.conditions} if self.conditions else {}),
        }

    @property
    def number(self) -> int | None:
        """Where nothing but the number of one job was said."""
        one = self.ids[0] if len(self.ids) == 1 and not self.conditions else None
        return one if isinstance(one, int) else None

    def numbers(self, client: Client) -> list[int]:
        """The ids of the jobs, each once."""
        if not self.conditions and all(isinstance(one, int) for one in self.ids):
            return list(dict.fromkeys(int(one) for one in self.ids))
        return [job["id"] for job in client.get("/v1/jobs", own=True, **self.query)["jobs"]]

    def one(self, client: Client) -> int:
        """Raises UsageError unless it is exactly one job."""
        if self.number is not None:
            return self.number
        found = self.numbers(client)
        if len(found) == 1:
            return found[0]
        from gpujobs.errors import UsageError

        if not found:
            raise UsageError(f"no job is as asked for ({self}); `gpujobs status --all` lists what there is")
        listed = ", ".join(map(str, found[:10])) + (", ..." if len(found) > 10 else "")
        raise UsageError(f"{self} are {len(found)} jobs ({listed}); expected one of them")


def choosing(
    *, required: bool = True, argument: bool = True, user_help: str = "Jobs of this user."
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The function gets a Selection as `chosen`. Without `argument`, it has ids of its own, as `ids`."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def chooses(ids: Any = (), **options: Any) -> Any:
            conditions = {key: value for key in CONDITIONS if (value := options.pop(key, None))}
            if isinstance(since := conditions.get("since"), datetime):
                conditions["since"] = since.isoformat()
            if state := conditions.get("state"):
                conditions["state"] = states(state)
            chosen = Selection(tuple(ids), conditions)
            if required and not chosen:
                raise click.UsageError(f"expected jobs: {HOW}.")
            return function(chosen=chosen, **options)

        for option in reversed(_options(user_help)):
            chooses = option(chooses)
        if argument:
            metavar = "ID|GROUP..." if required else "[ID|GROUP...]"
            chooses = click.argument("ids", nargs=-1, type=Reference(), metavar=metavar)(chooses)
        return chooses

    return decorate


def _options(user_help: str) -> list[Callable[..., Any]]:
    return [
        click.option("--mine", is_flag=True, help="Your jobs."),
        click.option("--user", metavar="NAME", help=user_help),
        click.option("--name", metavar="GLOB", help="Jobs, or groups, called so: 'lstm-*'."),
        click.option("--state", help="Jobs in these states, separated by commas."),
        click.option(
            "--since", type=PAST, metavar="TIME", help="Submitted, or ended, since: yesterday, 2h, 18:30."
        ),
    ]


def is_range(reference: int | str) -> bool:
    return isinstance(reference, str) and re.fullmatch("[0-9]+-[0-9]+", reference) is not None


def states(text: str) -> str:
    from gpujobs.model import State

    names = [name.strip().upper() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in State.__members__:
            raise click.BadParameter(f"{name!r}; expected any of {', '.join(State)}.", param_hint="--state")
    return ",".join(names)
