"""What all commands share: the group that loads them late, the settings' flags, the client.

What only some of them need is imported where it is needed: `--version` and `--help` ask no daemon.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from gpujobs.cli import completed
from gpujobs.errors import DaemonUnreachableError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from gpujobs.client import Client
    from gpujobs.config.settings import Settings

COMMANDS = {
    "run": "Submit job files, follow them and print where the results are.",
    "serve": "Run the daemon in the foreground.",
    "stop": "Stop the daemon; running jobs go on and are adopted by the next one.",
    "check": "Validate job files without submitting them.",
    "submit": "Queue job files.",
    "status": "Show the queue, or some jobs; a group (the jobs of a sweep) is one line.",
    "show": "Show everything about one job.",
    "top": "Watch devices, queue, logs and curves live in the terminal, and act on jobs.",
    "web": "Print a link to the pages of the daemon, and open it where there is a browser.",
    "gpus": "Show every device and who is on it.",
    "timeline": "Show what each device was, is and will probably be used for.",
    "report": "Sum up what was used, by user, group, week or device.",
    "drain": "Start nothing more on devices; what runs there goes on.",
    "resume": "Give drained devices work again.",
    "reserve": "Keep devices for a user or a group for some time.",
    "unreserve": "Cancel reservations.",
    "logs": "Print the log of a job.",
    "wait": "Wait until jobs have ended.",
    "cancel": "Cancel jobs, or all jobs of a group.",
    "finish": "End trainings after their epoch, as if it had been the last.",
    "limit": "Change the time limit of jobs.",
    "hold": "Keep waiting jobs from starting.",
    "release": "Let held jobs start.",
    "requeue": "Queue ended jobs once more; running ones go back to the queue.",
    "prioritize": "Give jobs another priority; higher ones start first.",
    "results": "List models and predictions, one job's files, or a group's jobs by rank.",
    "fetch": "Copy a job's results, as your own files.",
    "notify": "Say who is told of what of your jobs, by mail, URL or command.",
    "predict": "Apply a trained model to new data.",
    "plot": "Draw learning curves, as a picture or in the terminal; several jobs are compared.",
    "tensorboard": "Start TensorBoard on learning curves, for you alone.",
    "simulate": "Replay a trace of submissions through the scheduling policy.",
    "prune": "Remove what ended jobs have left: results, checkpoints, logs, data.",
    "doctor": "Check the installation.",
    "backup": "Copy the store of the running daemon to a directory.",
    "restore": "Put a copy of the store back, where no daemon runs.",
    "schema": "Print the JSON Schema of a job file.",
    "node": "Let other boxes join this one's queue, or join another's.",
}
META = "gpujobs.flags"


class LazyGroup(click.Group):
    """Imports a command's module when that command is used, and none for the help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        from importlib import import_module

        command: click.Command = import_module(f"gpujobs.cli.commands.{name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            nearest = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f" Did you mean {nearest[0]!r}?" if nearest else " `gpujobs --help` lists them."
            raise click.UsageError(f"No such command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)


def _remember(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value:
        ctx.meta.setdefault(META, {})[parameter.name] = value


def shared_options() -> list[click.Parameter]:
    common: dict[str, Any] = {"expose_value": False, "callback": _remember}
    options = [
        click.Option(["--socket"], metavar="PATH", help="The daemon's socket.", **common),
        click.Option(["--state-dir"], metavar="DIR", help="Where the daemon keeps its state.", **common),
        click.Option(["--config"], metavar="FILE", help="The configuration, gpujobs.toml.", **common),
        click.Option(["-v", "--verbose"], is_flag=True, help="Show tracebacks of errors.", **common),
    ]
    for option in options:
        completed.teach(option)
    return list(options)


class Command(click.Command):
    """A command with the settings' flags. `example` ends its help."""

    def __init__(self, *args: Any, example: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params = [*self.params, *shared_options()]
        for parameter in self.params:
            completed.teach(parameter)
        self.epilog = f"\b\nExample:\n  {example}"


def command(name: str, example: str) -> Callable[[Callable[..., Any]], click.Command]:
    """The help is that of the list of commands, then the function's docstring."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        return click.command(
            name,
            cls=Command,
            example=example,
            help="\n\n".join([COMMANDS[name], inspect.cleandoc(function.__doc__ or "")]).strip(),
            context_settings={"help_option_names": ["-h", "--help"]},
        )(function)

    return decorate


class Group(click.Group):
    """A command that has commands of its own."""

    def __init__(self, name: str, example: str) -> None:
        super().__init__(
            name,
            help=COMMANDS[name],
            epilog=f"\b\nExample:\n  {example}",
            context_settings={"help_option_names": ["-h", "--help"]},
        )
        self.params = [*self.params, *shared_options()]

    def verb(self, name: str, example: str) -> Callable[[Callable[..., Any]], click.Command]:
        """As `command`: the help is the function's docstring."""

        def decorate(function: Callable[..., Any]) -> click.Command:
            made = click.command(
                name,
                cls=Command,
                example=example,
                help=inspect.cleandoc(function.__doc__ or ""),
                context_settings={"help_option_names": ["-h", "--help"]},
            )(function)
            self.add_command(made)
            return made

        return decorate


def flags() -> dict[str, Any]:
    """The settings' flags that were given, before or after the command's name."""
    return dict(click.get_current_context().meta.get(META, {}))


def client() -> Client:
    from gpujobs.client import connect
    from gpujobs.config.settings import sockets

    places = sockets(flags())
    try:
        found = connect(places, advice=_advice())
    except DaemonUnreachableError as error:
        from gpujobs.cli.unreachable import connect_when_up

        found = connect_when_up(flags(), places, error)
    click.get_current_context().call_on_close(found.close)
    _say_whose(found)
    return found


def reading_client() -> Client:
    """A client for what only reads: where no daemon runs, of the files of one's own."""
    try:
        return client()
    except DaemonUnreachableError:
        from gpujobs.cli.unreachable import locked

        settings = _own_files()
        if settings is None or locked(flags()):
            raise
    from gpujobs.client import Client
    from gpujobs.daemon.files import answering

    socket = click.get_current_context().with_resource(answering(settings))
    click.echo(f"gpujobs: no daemon is running; from the files of {settings.state_dir}", err=True)
    return Client(socket, is_of_files=True)


def _own_files() -> Settings | None:
    """Where a daemon of the caller's has left its store; None where a daemon elsewhere was named, or it is not
    theirs."""
    import os

    from gpujobs.config.settings import names_socket_alone, resolve
    from gpujobs.paths import StatePaths

    if names_socket_alone(flags()):
        return None
    settings = resolve(flags())
    try:
        status = StatePaths(settings.state_dir).database.stat()
    except OSError:
        return None
    return settings if status.st_uid == os.getuid() else None


def _advice() -> str:
    """How somebody who asks here gets a daemon."""
    import os

    from gpujobs.config.settings import installed_site

    if installed_site(flags()) is None:
        return "start one with `gpujobs serve &`, or run a job at once with `gpujobs run FILE`."
    if os.getuid() == 0:
        return "this machine has a daemon for everybody, which does not run: `systemctl start gpujobs` starts it."
    return (
        "this machine has a daemon for everybody, which does not run: ask those who look after the machine "
        "(`systemctl status gpujobs` says more); `gpujobs serve --personal &` starts one for you alone."
    )


def _say_whose(found: Client) -> None:
    """Where a daemon of one's own hides the site's."""
    from gpujobs.client.connection import answers
    from gpujobs.config.settings import site_socket

    site = site_socket(flags())
    if site is not None and found.socket != site and answers(site):
        click.echo(
            f"gpujobs: this is the queue of your own daemon ({found.socket}); the site's, too, has one: "
            f"`--socket {site}` shows it, `gpujobs stop` ends your own",
            err=True,
        )


class JobNumber(click.IntRange):
    """The id of one job."""

    def __init__(self) -> None:
        super().__init__(min=1)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and re.fullmatch("g[0-9]+|[0-9]+-[0-9]+", value):
            self.fail(
                f"{value} names several jobs; expected the number of one; `gpujobs status {value}` lists them.",
                param,
                ctx,
            )
        return super().convert(value, param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from gpujobs.cli import completion

        return completion.jobs(ctx, incomplete, groups=isinstance(self, Reference))


class Reference(JobNumber):
    """A job by its id (7), several by a range (60-65), or a group by its id (g7) or its name: int or str."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if re.fullmatch("[0-9]+", str(value)):
            return super().convert(value, param, ctx)
        if not str(value).strip():
            self.fail("the empty text names nothing; expected a job's number, or a group.", param, ctx)
        return value


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
id_argument = click.argument("id", type=JobNumber(), metavar="ID")
