"""gpujobs web"""

from __future__ import annotations

import click

from gpujobs.cli import app, browser, output


@app.command("web", "gpujobs web --no-browser")
@click.option("--no-browser", is_flag=True, help="Only print the link.")
@app.json_option
def command(no_browser: bool, as_json: bool) -> None:
    """The link works once, within a minute, for you. From another machine, forward the port that it names:
    `ssh -L PORT:127.0.0.1:PORT BOX`."""
    answer = app.client().post("/v1/web/link", {})
    if as_json:
        output.print_json(answer)
        return
    click.echo(answer["url"])
    if not no_browser:
        browser.open_where_there_is_one(answer["url"])
