"""gpujobs run"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gpujobs.cli import app
from gpujobs.cli.commands.submit import overrides, submission_options, submit
from gpujobs.cli.running import jobs_report, run_jobs

if TYPE_CHECKING:
    from gpujobs.client import Client


@app.command("run", "gpujobs run jobs/tutorial.yaml")
@submission_options
@click.option("--cpu-slots", type=click.IntRange(min=1), help="Of an embedded daemon: jobs at once.")
@click.option(
    "--personal",
    "is_personal",
    is_flag=True,
    help="Where the site's daemon does not run: by one of your own, outside of its queue.",
)
@click.option("--plot", is_flag=True, help="Draw the learning curves at the end.")
@app.json_option
def command(
    files: tuple[str, ...],
    cpu_slots: int | None,
    is_personal: bool,
    plot: bool,
    as_json: bool,
    **options: Any,
) -> None:
    from gpujobs.client.submission import read_job_files

    overrides(options["sets"])
    read_job_files(files)
    run_jobs(
        lambda client: submit(client, files, **options),
        cpu_slots=cpu_slots,
        is_personal=is_personal,
        report=jobs_report if as_json else None,
        after=_draw if plot and not as_json else None,
    )


def _draw(client: Client, ids: list[int]) -> None:
    from gpujobs.cli.commands.plot import draw

    click.echo()
    draw(client, ids)
