"""gpujobs serve"""

from __future__ import annotations

import os

import click

from gpujobs.cli import app
from gpujobs.errors import UsageError


@app.command("serve", "gpujobs serve --cpu-slots 2 &")
@click.option("--personal", is_flag=True, help="Serve only yourself; the default for everybody but root.")
@click.option("--cpu-slots", type=click.IntRange(min=1), help="Jobs at once where there is no GPU.")
@click.option("--web", metavar="ADDRESS:PORT", help="Where the pages are served; port 0: a free one.")
@click.option("--no-web", is_flag=True, help="Serve no pages.")
@click.option(
    "--ray-address", metavar="HOST:PORT", help="Use this Ray, which is there; personal only; experimental."
)
@click.option("--embedded", is_flag=True, hidden=True)
@click.option("--ready-fd", type=int, hidden=True)
@click.option("--lifeline-fd", type=int, hidden=True)
def command(
    personal: bool,
    cpu_slots: int | None,
    web: str | None,
    no_web: bool,
    ray_address: str | None,
    embedded: bool,
    ready_fd: int | None,
    lifeline_fd: int | None,
) -> None:
    from gpujobs.config import site
    from gpujobs.config.settings import config_path, resolve
    from gpujobs.daemon import main as daemon

    mode = "embedded" if embedded else "site" if os.getuid() == 0 and not personal else "personal"
    if web and no_web:
        raise click.UsageError("--web and --no-web: expected one of them.")
    flags = {**app.flags(), "cpu_slots": cpu_slots, "web": "" if no_web else web}
    flags["ray_address"] = ray_address
    configured = site.read(
        config_path(flags, mode=mode)
    )  # so that all its mistakes are said, not the first alone
    settings = resolve(flags, mode=mode)
    if settings.ray_address is not None and configured.cluster.listen is not None:
        raise UsageError(
            f"--ray-address, and [cluster] listen in {settings.config}: expected one of them; boxes join a Ray of the "
            "daemon's own, not one that is there already"
        )
    daemon.serve(settings, ready_fd=ready_fd, lifeline_fd=lifeline_fd)
