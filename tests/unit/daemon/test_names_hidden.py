"""Where a site hides names: none is in anything that somebody else is told, whatever they ask for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gpujobs.daemon.api_json import occupancy_json
from gpujobs.daemon.handlers import gpus
from gpujobs.model import Caller, Device, DeviceKind, utc_now
from gpujobs.paths import StatePaths
from gpujobs.policy import Allocation, Reservation, occupancy
from gpujobs.policy.devices.reservations import ReservationWindow
from gpujobs.protocol.instructions import Stray
from gpujobs.store.store import Store
from tests.unit.daemon.test_rights_of_requests import Box
from tests.unit.store.jobs import B, complete, having, new_job

ANN = Caller(uid=1000, gid=1000, pid=1, user="annabel")
BLIND = replace(B, sees_names=False)
SECRETS = ("annabel", "pneumonia", "tuberculosis", "because of", "/results/of/hers", "0.12345")


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """Ended, running, waiting and grouped jobs of hers, and a reservation for her."""
    store = Store(StatePaths(tmp_path).database)
    swept = [
        having(
            new_job("pneumonia"), group="tuberculosis", group_start=2, sweep_values={"training.seed": 0.12345}
        )
        for _ in range(2)
    ]
    store.submit(ANN, "k", [new_job("pneumonia"), new_job("pneumonia"), *swept])
    complete(store, 1, results="/results/of/hers")
    device = Device("n", DeviceKind.CPU, 0, "CPU-n-0", "cpu")
    store.start_attempt(2, device)
    store.note(2, "warning", "because of her data")
    now = utc_now()
    store.reservations.add(
        Reservation(0, device.uuid, now, now + timedelta(hours=1), "annabel", None), "root"
    )
    store.close()
    return Box(tmp_path)


PATHS = [
    "/v1/jobs?all=1", "/v1/queue?all=1&unfold=1", "/v1/queue?all=1&devices=1", "/v1/timeline", "/v1/report?by=user",
    "/v1/report?by=group", "/v1/reservations", "/v1/gpus", "/v1/results", "/v1/ranking?ids=g3", "/v1/jobs/1",
    "/v1/jobs/1/log", "/v1/results/1/metrics.json", "/v1/jobs?all=1&user=annabel", "/v1/jobs?all=1&name=pneu*",
]  # fmt: skip


def test_nothing_tells_whose_jobs_they_are_or_what_they_are_about(box: Box) -> None:
    for path in PATHS:
        told = box.ask(BLIND, "GET", path)
        asked = path.partition("?")[2]
        assert [word for word in SECRETS if word in told and word not in asked] == [], path
    assert all(word in box.ask(ANN, "GET", "/v1/jobs?all=1") for word in SECRETS[:3])
    assert "annabel" in box.ask(B, "GET", "/v1/jobs?all=1") and '"jobs": [{' in box.ask(
        BLIND, "GET", "/v1/jobs"
    )


def test_by_what_is_hidden_nothing_can_be_found(box: Box) -> None:
    for query in ("user=annabel", "name=pneu*"):
        assert '"total": 0' in box.ask(BLIND, "GET", f"/v1/jobs?all=1&{query}")
        assert '"total": 4' in box.ask(B, "GET", f"/v1/jobs?all=1&{query}")


def test_reservations_of_a_device_name_their_holder_to_those_who_may_know() -> None:
    now = utc_now()
    term = ReservationWindow(now, now + timedelta(hours=1), "annabel", None)
    device = Device("n", DeviceKind.GPU, 0, "GPU-0", "gpu", power_watts=150.0, temperature_celsius=60)
    view = occupancy(device, [Allocation(7, "n", "GPU-0", 7)], None, (term,), now)
    for caller, user in ((BLIND, None), (B, "annabel"), (replace(BLIND, user="annabel"), "annabel")):
        told = occupancy_json(view, caller)
        assert told["reserved"][0]["user"] == user
        assert (told["power_watts"], told["temperature_celsius"], told["jobs"]) == (150.0, 60, [7])


def test_a_trainer_that_no_job_knows_is_for_those_who_see_names_and_for_admins() -> None:
    stray = Stray(
        job="7", attempt="1", user="annabel", device="GPU 0", supervisor=12, trainer=13, started_at=None
    )
    devices: Any = SimpleNamespace(strays=(stray,), nodes=SimpleNamespace(own_name="n"))
    (shown,) = gpus._strays(devices, B)
    assert shown["user"] == "annabel" and "of annabel" in shown["message"]
    assert gpus._strays(devices, BLIND) == []
    (hidden,) = gpus._strays(devices, replace(BLIND, is_admin=True))
    assert "annabel" not in hidden["message"]
