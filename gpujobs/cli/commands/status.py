"""gpujobs status"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from gpujobs.cli import app, output, streams
from gpujobs.cli.choosing import Selection, choosing

if TYPE_CHECKING:
    from gpujobs.view import now as view

HOME, TO_END_OF_LINE, TO_END_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"
CLEAR = "\x1b[2J"


LEFT_LINES = 3
"""Of a terminal that is drawn on: for the head, for what is left out, and for the cursor."""


def lines(rows: list[dict[str, Any]], total: int, nodes: Sequence[Mapping[str, Any]] = ()) -> list[str]:
    """`nodes`: of a site that has several."""
    out = [f"{node['name']}: {node['message'] or node['status']}" for node in nodes if node["status"] != "ok"]
    below = [output.indented(output.message(text))[2:] for text in out]
    if not total:
        return [
            "no jobs; `gpujobs submit FILE` queues one, `gpujobs status --all` shows ended ones too",
            *below,
        ]
    shown = output.queue_table(rows, names_nodes=len(nodes) > 1)
    if total > len(rows):
        shown.append(f"... and {total - len(rows):,} more (--limit 0 shows all, --json has them all)")
    return shown + below


def share_line(share: dict[str, Any]) -> str:
    """What the caller has used against the share, and what that means for whose turn it is."""
    ahead = f"{share['ahead']} of {share['others']} others" if share["ahead"] else "nobody"
    days = share["half_life_seconds"] / 86400
    return (
        f"you have used {share['used']:.0%} of the GPU time that counts (half-life {days:g} d), your share is "
        f"{share['share']:.0%}; at equal priority and age {ahead} would come first"
    )


def watch(query: dict[str, Any], limit: int) -> None:
    """Draws the table anew as the daemon sends it: what a terminal has no line for is left out, below."""
    is_live = streams.is_live(sys.stdout)
    if is_live:
        import shutil

        fitting = max(1, shutil.get_terminal_size().lines - LEFT_LINES)
        limit = min(limit or fitting, fitting)
        click.echo(CLEAR, nl=False)
    from gpujobs.view import now as view

    seen = view.Now()
    with app.client().open("/v1/queue/watch", limit=limit or None, changes=True, **query) as pieces:
        for number, piece in enumerate(pieces):
            seen = _after(seen, json.loads(piece))
            text = lines([dict(row.shown) for row in seen.rows], seen.total, seen.nodes)
            if is_live:
                _draw_over(text)
            else:
                click.echo("\n".join([*([""] if number else []), *text]))


def _after(seen: view.Now, piece: dict[str, Any]) -> view.Now:
    """The first piece has all, the others what is new."""
    from gpujobs.view import now as view

    if "rows" in piece:
        return view.now_from_json(piece)
    return view.applied(seen, view.difference_from_json(piece))


def _draw_over(text: list[str]) -> None:
    """In one piece from the upper left corner, each line to its end, so that nothing flickers."""
    drawn = "".join(f"{line}{TO_END_OF_LINE}\n" for line in text)
    click.echo(f"{HOME}{drawn}{TO_END_OF_SCREEN}", nl=False)


@app.command("status", "gpujobs status --mine --state PENDING,RUNNING")
@choosing(required=False)
@click.option("--all", "everything", is_flag=True, help="Ended jobs too.")
@click.option("--unfold", is_flag=True, help="The jobs of groups too, below their line.")
@click.option("--limit", type=click.IntRange(min=0), default=100, show_default=True, help="Rows; 0: all.")
@click.option("--watch", "is_watched", is_flag=True, help="Show changes until Ctrl-C.")
@app.json_option
def command(
    chosen: Selection,
    everything: bool,
    unfold: bool,
    limit: int,
    is_watched: bool,
    as_json: bool,
) -> None:
    query: dict[str, Any] = {**chosen.query, "all": everything}
    if as_json:
        output.print_json(app.client().get("/v1/jobs", **query)["jobs"])
        return
    query["unfold"] = unfold
    if is_watched:
        watch(query, limit)
        return
    answer = app.client().get("/v1/queue", limit=limit or None, **query)
    click.echo("\n".join(lines(answer["rows"], answer["total"], answer.get("nodes", ()))))
    if share := answer.get("share"):
        click.echo(share_line(share))
    for notice in answer.get("notices", ()):
        click.echo(f"gpujobs: {output.message(notice)}", err=True)
