"""gpujobs simulate"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpujobs import units
from gpujobs.cli import app, output

if TYPE_CHECKING:
    from gpujobs.policy.inputs.rules import Rules
    from gpujobs.simulation.nodes import Site
    from gpujobs.simulation.report import NodeReport, Report, Summary, UserReport
    from gpujobs.simulation.trace import Submission

GPUS, GPU_MEMORY_BYTES = 8, 80 << 30
SHOWN_USERS = 30
SUMMARY_HEAD = ("", "MEDIAN", "P95", "MAX")
NODE_HEAD = ("NODE", "GPUS", "JOBS", "GPU-HOURS", "UTILISATION")
USER_HEAD = ("USER", "JOBS", "WAIT MEDIAN", "WAIT P95", "SLOWDOWN", "GPU-HOURS", "SHARE", "ENTITLED")


class Size(click.ParamType[int]):
    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return units.size_bytes(value)
        except ValueError:
            self.fail(f"{value!r} is not a size such as 80GiB", param, ctx)


@app.command("simulate", "gpujobs simulate traces/lab-week.csv --gpus 8 --plot week.png")
@click.argument("trace", type=click.Path(path_type=Path), metavar="TRACE")
@click.option("--gpus", type=click.IntRange(1, 10_000), help="How many GPUs the one box has: 8 by default.")
@click.option("--gpu-memory", type=Size(), help="The memory of each: 80GiB by default.")
@click.option(
    "--nodes",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Instead: several nodes, as YAML, and when they are there.",
)
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw it, as PNG, SVG or PDF.")
@app.json_option
def command(
    trace: Path,
    gpus: int | None,
    gpu_memory: int | None,
    nodes: Path | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """TRACE is a CSV file with a line for each job. The settings are those of --config, else of a daemon here."""
    from gpujobs.simulation.replay import replay_on
    from gpujobs.simulation.report import report

    _check_plot(plot)
    if nodes is not None and (gpus is not None or gpu_memory is not None):
        raise click.UsageError("expected --nodes, or --gpus and --gpu-memory, not both.")
    rules = _rules()
    submissions, site = _read(trace, nodes, gpus or GPUS, gpu_memory or GPU_MEMORY_BYTES, rules)
    run = replay_on(submissions, rules, site)
    found = report(run)
    if plot is not None:
        from gpujobs.simulation.plot import draw

        draw(run, found, plot)
    if as_json:
        output.print_json(asdict(found))
    else:
        click.echo("\n".join(_lines(found)))


def _read(
    trace: Path, nodes: Path | None, gpus: int, gpu_memory: int, rules: Rules
) -> tuple[Sequence[Submission], Site]:
    """A job that no device could ever have is an error of its line."""
    from gpujobs.policy.devices.constraints import check_constraints
    from gpujobs.simulation.nodes import one_box, read_nodes
    from gpujobs.simulation.trace import read_trace, times_of

    largest = gpu_memory - rules.packing.margin_bytes if nodes is None else 1 << 60
    if nodes is None:
        site = one_box(gpus, gpu_memory)
    else:
        site = read_nodes(nodes, times_of(read_trace(trace, largest)))
    return read_trace(trace, largest, lambda one: check_constraints(one, site.nodes, rules.packing)), site


def _check_plot(plot: Path | None) -> None:
    """Before the work, not after it."""
    if plot is not None and plot.suffix not in (".png", ".svg", ".pdf"):
        raise click.BadParameter(f"{plot} does not end in .png, .svg or .pdf", param_hint="--plot")
    if plot is not None and not plot.absolute().parent.is_dir():
        raise click.BadParameter(f"there is no directory {plot.absolute().parent}", param_hint="--plot")


def _rules() -> Rules:
    """Of the configuration that was named, else of the one that a daemon here would use."""
    from gpujobs.config import site
    from gpujobs.config.settings import resolve

    return site.read(resolve(app.flags()).config).rules()


def _lines(report: Report) -> list[str]:
    span = output.duration(report.span_seconds)
    facts = f"{span} in all, utilisation {report.utilisation:.0%}, preemptions {report.preemptions}"
    if report.never_started:
        facts += f", never started {report.never_started}"
    waits = _summary("wait", report.wait_seconds, output.duration)
    slowdown = _summary("bounded slowdown", report.slowdown, _number)
    users = [_user(one) for one in report.users[:SHOWN_USERS]]
    lines = [report.title, facts, "", *output.table(SUMMARY_HEAD, [waits, slowdown], flexible=0)]
    lines += ["", *output.table(USER_HEAD, users, flexible=0)]
    if len(report.users) > SHOWN_USERS:
        lines.append(f"and {len(report.users) - SHOWN_USERS} users more; --json shows all")
    if len(report.nodes) > 1:
        lines += ["", *output.table(NODE_HEAD, [_node(one) for one in report.nodes], flexible=0)]
    return lines


def _node(one: NodeReport) -> tuple[object, ...]:
    used = "" if one.utilisation is None else f"{one.utilisation:.0%}"
    return one.node, one.gpus, one.jobs, f"{one.gpu_seconds / 3600:.1f}", used


def _summary(name: str, summary: Summary, show: Callable[[float | None], str]) -> tuple[str, ...]:
    return (name, show(summary.median), show(summary.p95), show(summary.max))


def _user(one: UserReport) -> tuple[object, ...]:
    return (
        one.user,
        one.jobs,
        output.duration(one.wait_seconds.median),
        output.duration(one.wait_seconds.p95),
        _number(one.slowdown.median),
        f"{one.gpu_seconds / 3600:.1f}",
        "" if one.share is None else f"{one.share:.1%}",
        "" if one.entitled_share is None else f"{one.entitled_share:.1%}",
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
