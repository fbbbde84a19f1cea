"""gpujobs restore"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import click

from gpujobs.cli import app
from gpujobs.errors import UsageError
from gpujobs.linux import statelock


@app.command("restore", "gpujobs restore /backup/2026-11-26")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what is newer than the copy, and change nothing.")
def command(directory: Path, yes: bool, dry_run: bool) -> None:
    """DIR is what `gpujobs backup` has made. Says what is newer than the copy, and asks; the store that is there
    is kept. Results and checkpoints stay as they are, and no number is given twice.

    For root it is the site's store, unless --state-dir names another."""
    from gpujobs.config.settings import resolve
    from gpujobs.paths import StatePaths
    from gpujobs.store import backups

    mode = "site" if os.getuid() == 0 and not app.flags().get("state_dir") else "personal"
    paths = StatePaths(resolve(app.flags(), mode=mode).state_dir)
    backup = backups.read_backup(directory)
    with contextlib.ExitStack() as held:
        if not dry_run or paths.lock.exists():
            paths.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            held.callback(os.close, statelock.take(paths.lock))
        newer = backups.newer_than(paths, backup)
        click.echo(f"restoring {paths.root}")
        for line in backups.describe(backup, newer, paths):
            click.echo(f"  {line}")
        if dry_run:
            return
        if not yes:
            _confirm()
        old = backups.restore(paths, backup, newer)
    click.echo(
        "restored; `gpujobs serve` starts the daemon" + (f"; what was there is in {old}" if old else "")
    )
    if (directory / backups.CONFIG).exists():
        click.echo(f"the configuration was left as it is; that of the copy is {directory / backups.CONFIG}")


def _confirm() -> None:
    if not sys.stdin.isatty():
        raise UsageError("nobody can be asked here; `--yes` restores it, `--dry-run` says what would be done")
    click.confirm("Put the copy in place?", abort=True)
