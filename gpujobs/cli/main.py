"""The entry point, and the one place where errors become exit codes."""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

import click

from gpujobs import __version__
from gpujobs.cli import streams
from gpujobs.cli.app import META, LazyGroup, shared_options
from gpujobs.errors import ConfigError, GpujobsError, JobFileError, in_words

INTERRUPTED = 130
UNEXPECTED = 3


class Gpujobs(LazyGroup):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            _silence_stdout()
            raise click.exceptions.Exit(0) from None
        except GpujobsError as error:
            if ctx.meta.get(META, {}).get("verbose"):
                import traceback

                traceback.print_exc()
            report(error)
            raise click.exceptions.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            click.echo("gpujobs: interrupted", err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None
        except OSError as error:
            if ctx.meta.get(META, {}).get("verbose"):
                raise
            click.echo(f"gpujobs: {in_words(error)} (-v shows where)", err=True)
            raise click.exceptions.Exit(4) from None
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:  # no traceback for whoever has not asked for it
            if ctx.meta.get(META, {}).get("verbose"):
                raise
            what = f"{type(error).__name__}: {error}".replace("\n", " ")
            click.echo(
                f"gpujobs: an answer of the daemon, or a file, is not as expected ({what}); the daemon may be of "
                "another version, or this is a bug of gpujobs: -v shows where",
                err=True,
            )
            raise click.exceptions.Exit(UNEXPECTED) from None


def report(error: GpujobsError) -> None:
    if isinstance(error, JobFileError | ConfigError):
        for problem in error.problems:
            click.echo(str(problem), err=True)
    else:
        from gpujobs.cli import clock

        click.echo(f"gpujobs: {clock.localised(error.message)}", err=True)


def in_one_line(error: click.ClickException) -> str:
    """Where click would print the usage first, and the error last."""
    context = getattr(error, "ctx", None)
    if context is None:
        return f"gpujobs: {error.format_message()}"
    path = context.command_path
    return f"{path}: {error.format_message()} ({path} --help shows how it is used)"


cli = Gpujobs(
    "gpujobs",
    help="Train LSTMs on the GPUs of a shared machine: describe a job in a file, submit it, go home.",
    epilog="\b\nExample:\n  gpujobs run jobs/tutorial.yaml",
    params=[*shared_options()],
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
click.version_option(__version__, prog_name="gpujobs")(cli)


def main() -> NoReturn:
    code = 0
    streams.prepare()
    try:
        result = cli.main(prog_name="gpujobs", standalone_mode=False)
        code = result if isinstance(result, int) else 0
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = error.exit_code
    except click.ClickException as error:
        click.echo(in_one_line(error), err=True)
        code = error.exit_code
    except click.Abort:
        click.echo("gpujobs: interrupted", err=True)
        code = INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
    sys.exit(code)


def _silence_stdout() -> None:
    """So that the interpreter's last flush does not complain of the closed pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
