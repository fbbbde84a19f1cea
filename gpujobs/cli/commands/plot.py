"""gpujobs plot"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpujobs.cli import app, cells, output
from gpujobs.cli.choosing import Selection, choosing
from gpujobs.errors import UsageError

if TYPE_CHECKING:
    from gpujobs.client import Client
    from gpujobs.results.curves import JobHistory, Panel


KINDS = ("curves", "forecast", "confusion")
NAME_WIDTH = 50


@app.command("plot", "gpujobs plot 7 8 --metric loss --output curves.png")
@choosing()
@click.option(
    "-o", "--output", "path", type=click.Path(path_type=Path), metavar="FILE.png", help="Write a picture."
)
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Only this one; repeatable.")
@click.option("--of", type=click.Choice(KINDS), help="What to draw of one job.")
@app.json_option
def command(
    chosen: Selection, path: Path | None, metrics: tuple[str, ...], of: str | None, as_json: bool
) -> None:
    """GROUP is a group's id, such as g12, or its name: those jobs of a sweep that have a curve. Of a job that runs,
    or did not complete, the curve is what there is. Without --output it draws here; validation is dashed. Of one job
    that has ended its forecast (truth, forecast, naive forecast) or confusion matrix follows, where it has one; --of
    draws that alone."""
    from gpujobs.cli import curves
    from gpujobs.results.curves import panels

    if path is not None:
        check_output(path)
    if of not in (None, KINDS[0]):
        _other(chosen, str(of), path, metrics, as_json)
        return
    client = app.reading_client()
    histories = curves.chosen(curves.read_histories(client, chosen), metrics)
    if path is not None:
        from gpujobs.results.pictures.curves import png

        write_output(path, png(histories, panels(histories)))
    if as_json:
        output.print_json([curves.json_of(one) for one in histories])
    elif path is not None:
        click.echo(f"{output.printable(path)}: {_of(histories)}")
    else:
        click.echo("\n".join(_drawing(histories, panels(histories))))
        if of is None and not metrics:
            _beside_curves(client, histories)


def _beside_curves(client: Client, histories: Sequence[JobHistory]) -> None:
    """Of one job, what it has besides its curves."""
    from gpujobs.cli import drawn

    if len(histories) == 1 and (found := drawn.beside_curves(client, histories[0].id)) is not None:
        click.echo("\n".join(["", *drawn.lines(found, output.width(), output.has_colour())]))


def _other(chosen: Selection, of: str, path: Path | None, metrics: tuple[str, ...], as_json: bool) -> None:
    from gpujobs.cli import drawn

    if metrics:
        raise click.UsageError(f"--metric chooses curves; a {of} has none.")
    found = drawn.read(app.reading_client(), chosen, of)
    if path is not None:
        write_output(path, drawn.png(found))
    if as_json:
        output.print_json({"id": found.id, "name": found.name, of: found.content})
    elif path is None:
        click.echo("\n".join(drawn.lines(found, output.width(), output.has_colour())))
    else:
        name = cells.shortened(output.printable(f"{found.id} {found.name}"), NAME_WIDTH)
        click.echo(f"{output.printable(path)}: {of} of {name}")


def draw(client: Client, ids: Sequence[int]) -> None:
    """The curves of these jobs, here."""
    from gpujobs.cli import curves
    from gpujobs.results.curves import panels

    histories = curves.chosen(curves.read_histories(client, Selection(tuple(ids))), ())
    click.echo("\n".join(_drawing(histories, panels(histories))))
    _beside_curves(client, histories)


def _of(histories: Sequence[JobHistory]) -> str:
    if len(histories) > 1:
        return f"{len(histories)} jobs"
    (one,) = histories
    epochs = len(one.columns["epoch"])
    name = cells.shortened(output.printable(f"{one.id} {one.name}"), NAME_WIDTH)
    return f"{name}, {epochs} epoch{'s' if epochs > 1 else ''}"


def check_output(path: Path) -> None:
    """Before the work, not after it."""
    if path.suffix.lower() != ".png":
        raise click.BadParameter(f"{path} does not end in .png", param_hint="--output")
    if path.is_dir():
        raise click.BadParameter(f"{path} is a directory", param_hint="--output")
    if not path.absolute().parent.is_dir():
        raise click.BadParameter(f"there is no directory {path.absolute().parent}", param_hint="--output")


def write_output(path: Path, content: bytes) -> None:
    """Into a file that is there, as cp does."""
    try:
        file = path.open("wb")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}; name another file.") from error
    with file:
        file.write(content)


def _drawing(histories: Sequence[JobHistory], panels: Sequence[Panel]) -> list[str]:
    from gpujobs.cli.braille import lines

    width, colour = output.width(), output.has_colour()
    drawn = [line for panel in panels for line in (*lines(panel, len(histories), width, colour), "")]
    if len(histories) == 1:
        return [cells.cut(_of(histories), width), "", *drawn[:-1]]
    return [*drawn, *_legend(histories, width, colour)]


def _legend(histories: Sequence[JobHistory], width: int, colour: bool) -> list[str]:
    from gpujobs.cli.braille import LETTERS, styled

    texts = [
        cells.cut(output.printable(f"{LETTERS[place % len(LETTERS)]} {one.id} {one.name}"), width)
        for place, one in enumerate(histories)
    ]
    size = max(map(cells.width, texts)) + 2
    beside = max(1, (width + 2) // size)
    shown = [
        (styled(text, place) if colour else text) + " " * (size - cells.width(text))
        for place, text in enumerate(texts)
    ]
    return ["".join(shown[at : at + beside]).rstrip() for at in range(0, len(shown), beside)]
