"""gpujobs reserve"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from gpujobs.cli import app, output
from gpujobs.cli.times import INSTANT, Instant

HEAD = ("ID", "DEVICE", "FOR", "FROM", "UNTIL")


def _counted_from_the_begin(
    context: click.Context, option: click.Parameter, text: str | None
) -> datetime | None:
    """`--from 18:00 --until +12h` is six in the morning, whenever it is typed."""
    begin: datetime | None = context.params.get("starts_at")
    return None if text is None else Instant(begin).convert(text, option, context)


@app.command("reserve", "gpujobs reserve 2 --user alice --from 18:00 --until +12h")
@click.argument("devices", nargs=-1, metavar="[DEVICE...]")
@click.option("--user", help="For this user's jobs.")
@click.option("--group", help="For the jobs of the members of this UNIX group.")
@click.option(
    "--from",
    "starts_at",
    type=INSTANT,
    is_eager=True,  # --until is counted from it, whichever comes first
    metavar="TIME",
    help="18:30, 2026-12-24T18:30 or +90m; by default now.",
)
@click.option(
    "--until",
    callback=_counted_from_the_begin,
    metavar="TIME",
    help="As --from, and counted from it; by default as the site says, a day later.",
)
@app.json_option
def command(
    devices: tuple[str, ...],
    user: str | None,
    group: str | None,
    starts_at: datetime | None,
    until: datetime | None,
    as_json: bool,
) -> None:
    """DEVICE is a number of `gpujobs gpus`, NODE:NUMBER, or the beginning of a UUID; NODE or NODE:* is all of a node.
    Without one, lists the reservations; `gpujobs unreserve ID` cancels one."""
    client = app.client()
    if not devices:
        answer = client.get("/v1/reservations")
    else:
        if (user is None) == (group is None):
            raise click.UsageError("expected --user or --group: for whom the devices are kept.")
        times = {"starts_at": starts_at, "ends_at": until}
        body = {"devices": list(devices), "user": user, "group": group}
        body |= {key: at.isoformat() for key, at in times.items() if at is not None}
        answer = client.post("/v1/reservations", body)
    if as_json:
        output.print_json(answer["reservations"])
    else:
        show(answer)


def show(answer: dict[str, Any]) -> None:
    found, several = answer["reservations"], len(answer.get("nodes", ())) > 1
    if not found:
        click.echo("nothing is reserved")
        return
    rows = [
        (
            one["id"],
            output.device(one["device"], one["device"]["node"] if several else None)
            if one["device"]["kind"]
            else one["device"]["uuid"],
            output.holder(one),
            output.local_time(one["starts_at"]),
            output.local_time(one["ends_at"]),
        )
        for one in found
    ]
    click.echo("\n".join(output.table(HEAD, rows, flexible=2)))
