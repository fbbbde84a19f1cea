"""Ray starts without what nobody needs, where it is a Ray that is known to; else as it always does."""

from __future__ import annotations

import pytest
import ray
from ray._private import node, parameter, services

from gpujobs.cluster.spared import alone, spared

RAYLET = (
    "/opt/raylet", "--raylet_socket_name=/r", "--metrics-agent-port=0", "--python_worker_command=python w.py --a=b",
    "--runtime_env_agent_port=7", "--dashboard_agent_command=python agent.py --b=c", "--head",
    "--runtime_env_agent_command=python main.py",
)  # fmt: skip


def test_a_raylet_is_told_of_no_agent_and_of_no_port_to_wait_for() -> None:
    kept = ("/opt/raylet", "--raylet_socket_name=/r", "--python_worker_command=python w.py --a=b", "--head")
    command = alone(RAYLET)
    assert command[: len(kept)] == kept
    assert set(command[len(kept) :]) == {
        "--dashboard_agent_command= ", "--runtime_env_agent_command= ", "--metrics-agent-port=-1",
        "--metrics_export_port=-1", "--dashboard_agent_listen_port=-1", "--runtime_env_agent_port=-1",
    }  # fmt: skip


def test_other_processes_of_ray_are_started_as_they_are() -> None:
    command = ("/opt/gcs_server", "--log_dir=/l", "--metrics-agent-port=0")
    assert alone(command) is command


def _names() -> tuple[object, ...]:
    return (
        parameter.RayParams.__init__,
        node.Node.start_api_server,
        node.Node.start_ray_client_server,
        services.start_ray_process,
    )


def test_ray_is_changed_while_it_starts_and_no_longer() -> None:
    before = _names()
    with spared():
        assert not set(before) & set(_names())
    assert _names() == before


def test_the_raylet_of_another_ray_keeps_its_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    before = services.start_ray_process
    monkeypatch.setattr(ray, "__version__", "2.61.0")
    with spared():
        assert services.start_ray_process is before
