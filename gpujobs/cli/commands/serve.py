"""gpujobs serve"""

from __future__ import annotations

import os

import click

from gpujobs.cli import app


@app.command("serve", "gpujobs serve --cpu-slots 2 &")
@click.option("--personal", is_flag=True, help="Serve only yourself; the default for everybody but root.")
@click.option("--cpu-slots", type=click.IntRange(min=1), help="Jobs at once where there is no GPU.")
@click.option("--embedded", is_flag=True, hidden=True)
@click.option("--ready-fd", type=int, hidden=True)
@click.option("--lifeline-fd", type=int, hidden=True)
def command(
    personal: bool, cpu_slots: int | None, embedded: bool, ready_fd: int | None, lifeline_fd: int | None
) -> None:
    from gpujobs.config import site
    from gpujobs.config.settings import config_path, resolve
    from gpujobs.daemon import main as daemon

    mode = "embedded" if embedded else "site" if os.getuid() == 0 and not personal else "personal"
    flags = {**app.flags(), "cpu_slots": cpu_slots}
    site.read(config_path(flags, mode=mode))  # so that all its mistakes are said, not the first alone
    settings = resolve(flags, mode=mode)
    daemon.serve(settings, ready_fd=ready_fd, lifeline_fd=lifeline_fd)
