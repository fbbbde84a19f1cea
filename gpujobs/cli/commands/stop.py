"""gpujobs stop"""

from __future__ import annotations

import click

from gpujobs.cli import app
from gpujobs.errors import DaemonUnreachableError


@app.command("stop", "gpujobs stop --drain")
@click.option("--drain", "mode", flag_value="drain", help="Wait for the running jobs first.")
@click.option("--cancel", "mode", flag_value="cancel", help="Cancel the running jobs first.")
def command(mode: str | None) -> None:
    try:
        client = app.client()
    except DaemonUnreachableError:
        if mode is None and _stop_by_its_lock():
            return
        raise
    running = client.post("/v1/stop", {"mode": mode or "now"}).get("running", [])
    jobs = ", ".join(str(id) for id in running)
    if not running:
        click.echo("the daemon stops; no job is running")
    elif mode is None:
        click.echo(f"the daemon stops; jobs {jobs} go on and are adopted by the next daemon")
    else:
        click.echo(f"the daemon stops after jobs {jobs} have ended")
    try:
        # It never ends by itself: its end is the daemon's.
        for _ in client.watch([]):
            pass
    except DaemonUnreachableError:
        pass
    click.echo("stopped")


def _stop_by_its_lock() -> bool:
    """Ends a daemon that does not answer. True where there was one and it has ended."""
    from gpujobs.cli import unreachable

    found = unreachable.locked(app.flags())
    if found is None:
        return False
    directory, holder = found
    click.echo(f"the daemon of {directory} does not answer; ending its process {holder.pid}")
    if not unreachable.end(directory, holder):
        return False
    click.echo("stopped; jobs that ran go on, and are adopted by the next daemon")
    return True
