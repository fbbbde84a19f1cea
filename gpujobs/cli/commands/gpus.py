"""gpujobs gpus"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click

from gpujobs.cli import app, cells, output
from gpujobs.errors import DriverError
from gpujobs.model import NodeStatus
from gpujobs.view.nodes import Block, blocks, state

HEAD = ("DEVICE", "NAME", "STATE", "MEMORY", "LOAD", "TEMP", "JOBS")


@app.command("gpus", "gpujobs gpus")
@click.argument("device", required=False, metavar="[DEVICE|NODE]")
@app.json_option
def command(device: str | None, as_json: bool) -> None:
    """With a DEVICE (its number, NODE:NUMBER, or the beginning of its UUID) also what has happened to it; with the name
    of a NODE, the devices of that one."""
    client = app.client()
    answer = client.get("/v1/gpus", **({"device": device} if device else {}))
    if as_json:
        output.print_json(answer["devices"])
    else:
        show(answer["devices"], answer["nodes"])
        for event in answer["devices"][0]["events"] if device and len(answer["devices"]) == 1 else ():
            text = f"  {output.local_time(event['at'], 'seconds')}  {event['kind']} by {event['actor']}"
            click.echo(output.message(text + (f": {event['message']}" if event["message"] else "")))
        for stray in answer.get("unknown", ()):
            click.echo(output.message(stray["message"]))
    for node in answer["nodes"]:
        if node["status"] == NodeStatus.DRIVER_ERROR:
            raise DriverError(output.message(f"node {node['name']}: {node['message']}"))


def show(devices: list[dict[str, Any]], nodes: list[dict[str, Any]]) -> None:
    found = blocks(devices, nodes)
    several = len(found) > 1
    if devices:
        rows = [_row(device, block) for block in found for device in block.devices]
        head, *lines = output.table(HEAD, rows, flexible=1)
        click.echo(head)
        left = iter(lines)
        for block in found:
            if several:
                said = output.indented(output.message(block.says))[2:]
                click.echo(click.style(said, bold=True) if output.has_colour() else said)
            for device in block.devices:
                click.echo(next(left))
                _below(device, block)
    for node in nodes:
        if node["status"] == NodeStatus.DRIVER_ERROR or (several and devices):
            continue  # is the error that the command ends with, or has been said above its devices
        if node["status"] != NodeStatus.OK or not devices:
            click.echo(output.message(f"node {node['name']}: {_standing(node)}"))


def _below(device: Mapping[str, Any], block: Block) -> None:
    """What there is to say of it besides its line."""
    for text in _notes(device, block):
        click.echo(output.indented(output.message(text)))
    for process in () if block.is_away else device["foreign"]:
        click.echo(_foreign(process))


def _standing(node: dict[str, Any]) -> str:
    """A message says by itself that the node starts."""
    if node["status"] in (NodeStatus.OK, NodeStatus.STARTING):
        return str(node["message"] or node["status"])
    return f"{node['status']}: {node['message']}" if node["message"] else node["status"]


def _notes(device: Mapping[str, Any], block: Block) -> list[str]:
    """What its state does not say, or not why."""
    is_told = device["state"] == "drained" or (device["state"] == "lost" and not block.is_away)
    notes = [device["message"]] if is_told else []
    is_said = device.get("drained") and device["drained"] in device.get("message", "")
    if device.get("drained") is not None and device["state"] != "drained" and not is_said:
        notes.append(f"drained: {device['drained']}; nothing more is started on it")
    for term in device.get("reserved", ()):
        times = f"from {output.local_time(term['starts_at'])} until {output.local_time(term['ends_at'])}"
        notes.append(f"reserved for {output.holder(term)} {times}")
    return notes


def _row(device: Mapping[str, Any], block: Block) -> tuple[object, ...]:
    load, temperature = device.get("utilization_percent"), device.get("temperature_celsius")
    return (
        output.device(device),
        device["name"],
        state(device, block),
        "" if block.is_away else _memory(device),
        "" if load is None or block.is_away else f"{load} %",
        "" if temperature is None or block.is_away else f"{temperature} C",
        " ".join(str(id) for id in device["jobs"]),
    )


def _memory(device: Mapping[str, Any]) -> str:
    used, total = device.get("memory_used_bytes"), device.get("memory_total_bytes")
    return "" if total is None else f"{(used or 0) / 2**30:.1f}/{total / 2**30:.1f} GiB"


def _foreign(process: Mapping[str, Any]) -> str:
    text = (
        f"  foreign: {process['user'] or 'unknown user'} pid {process['pid']} "
        f"{output.size(process['memory_bytes'])} {_age(process.get('since'))}{process['command'] or ''}"
    )
    return cells.cut(output.printable(text.rstrip()), output.width(output.UNCUT))


def _age(since: str | None) -> str:
    if since is None:
        return ""
    return f"for {output.duration((datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds())} "
