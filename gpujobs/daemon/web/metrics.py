"""`GET /metrics`: the box in numbers, for Prometheus. It asks nobody who they are, so that it names no job, and users
only where the site says so. Base units; worked out at most every five seconds, however many ask."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from aiohttp import web
from prometheus_client import CollectorRegistry, exposition
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from gpujobs import __version__
from gpujobs.daemon.devices.service import DeviceService
from gpujobs.daemon.jobs.queries import JobQueries
from gpujobs.daemon.keys import DEVICES, JOB_QUERIES, SITE
from gpujobs.daemon.site_service import SiteService
from gpujobs.model import FINAL_STATES, NodeStatus, State
from gpujobs.policy import Occupancy

CACHED_SECONDS = 5.0
DEVICE = ("node", "device")

Place = TypeVar("Place", bound=tuple[str, ...])
"""Values of the labels."""


class BoxCollector(Collector):
    def __init__(self, queries: JobQueries, devices: DeviceService, site: SiteService) -> None:
        self._queries = queries
        self._of_devices = devices
        self._site = site
        cache, counts = queries.cache, queries.store.counts()
        self._before = {state: counts.get(state, 0) - cache.ended[state] for state in FINAL_STATES}
        """Jobs that had ended when this daemon began: they count on though their records may be removed."""

    def collect(self) -> Iterator[Metric]:
        nodes = self._of_devices.nodes.known
        yield _gauge("gpujobs_build", "Which version this is.", ["version"], {(__version__,): 1})
        yield _gauge("gpujobs_start_time_seconds", "When the daemon was started.", [],
                     {(): self._site.started_at.timestamp()})  # fmt: skip
        yield from self._jobs(self._queries.cache.lines.by_user_and_state)
        yield from _devices(self._of_devices.occupancies(nodes))
        up = {(node.name,): float(node.status is NodeStatus.OK) for node in nodes}
        yield _gauge("gpujobs_node_up", "Whether jobs are started on the node.", ["node"], up)
        if self._site.in_force.site.web.users_in_metrics:
            yield self._users()

    def _jobs(self, unfinished: Mapping[tuple[str, State], int]) -> Iterator[Metric]:
        live = {(state.lower(),): 0 for state in State if state not in FINAL_STATES}
        for (_, state), count in unfinished.items():
            live[state.lower(),] += count
        yield _gauge("gpujobs_jobs", "Jobs that have not ended, by state.", ["state"], live)
        ended = CounterMetricFamily(
            "gpujobs_jobs_ended", "Jobs that have ended, by final state.", labels=["state"]
        )
        for state in State:
            if state in FINAL_STATES:
                ended.add_metric([state.lower()], self._before[state] + self._queries.cache.ended[state])
        yield ended
        waits = {(str(reason),): count for reason, count in self._queries.cache.waits_by_reason().items()}
        yield _gauge("gpujobs_jobs_waiting", "Waiting jobs, by reason.", ["reason"], waits)

    def _users(self) -> Metric:
        counts = self._queries.cache.lines.by_user_and_state
        active = {(user, state.lower()): count for (user, state), count in counts.items()}
        return _gauge("gpujobs_user_jobs", "Jobs that have not ended, by user.", ["user", "state"], active)


def _devices(views: list[Occupancy]) -> Iterator[Metric]:
    def of(name: str) -> dict[tuple[str, ...], float]:
        found = {_place(one): getattr(one.device, name) for one in views}
        return {place: value for place, value in found.items() if value is not None}

    yield _gauge("gpujobs_device_memory_bytes", "Memory of the device.", DEVICE, of("memory_total_bytes"))
    yield _gauge("gpujobs_device_memory_used_bytes", "Memory in use.", DEVICE, of("memory_used_bytes"))
    load = {place: value / 100 for place, value in of("utilization_percent").items()}
    yield _gauge("gpujobs_device_utilization_ratio", "Load, from 0 to 1.", DEVICE, load)
    yield _gauge("gpujobs_device_temperature_celsius", "Temperature.", DEVICE, of("temperature_celsius"))
    yield _gauge("gpujobs_device_power_watts", "Power.", DEVICE, of("power_watts"))
    states = {(*_place(one), str(one.state)): 1.0 for one in views}
    yield _gauge("gpujobs_device_state", "1 for the state that the device is in.", (*DEVICE, "state"), states)
    yield _gauge("gpujobs_device_jobs", "Jobs that hold the device, or a part of it.", DEVICE,
                 {_place(one): float(len(one.jobs)) for one in views})  # fmt: skip
    strangers = {_place(one): float(len(one.foreign)) for one in views}
    yield _gauge("gpujobs_device_foreign_processes", "Processes that are no jobs.", DEVICE, strangers)


def _place(one: Occupancy) -> tuple[str, str]:
    return one.device.node, f"{one.device.kind}{one.device.index}"


def _gauge(name: str, text: str, labels: Sequence[str], values: Mapping[Place, float]) -> Metric:
    metric = GaugeMetricFamily(name, text, labels=list(labels))
    for place, value in values.items():
        metric.add_metric(list(place), value)
    return metric


class Collected(Collector):
    """What a collector has found at one moment, for every form in which it is asked for."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> list[Metric]:
        return self._metrics


class Metrics:
    """`handle` answers from what was worked out last, as long as it is fresh."""

    def __init__(self) -> None:
        self._collector: BoxCollector | None = None
        self._registry = CollectorRegistry(auto_describe=False)
        self._answers: dict[bool, bytes] = {}
        """By whether they are plain."""
        self._until = 0.0

    async def handle(self, request: web.Request) -> web.Response:
        if time.monotonic() >= self._until:
            self._renew(request.app)
        is_plain = _wants_plain(request.headers.get("Accept"))
        if is_plain not in self._answers:
            self._answers[is_plain] = (
                exposition.generate_latest(self._registry)
                if is_plain
                else openmetrics.generate_latest(self._registry)  # type: ignore[no-untyped-call]
            )
        kind = exposition.CONTENT_TYPE_LATEST if is_plain else openmetrics.CONTENT_TYPE_LATEST
        return web.Response(body=self._answers[is_plain], headers={"Content-Type": kind})

    def _renew(self, app: web.Application) -> None:
        if self._collector is None:
            self._collector = BoxCollector(app[JOB_QUERIES], app[DEVICES], app[SITE])
        self._registry, self._answers = CollectorRegistry(auto_describe=False), {}
        self._registry.register(Collected(self._collector.collect()))
        self._until = time.monotonic() + CACHED_SECONDS


def _wants_plain(accept: str | None) -> bool:
    """Prometheus asks for OpenMetrics by name. Who takes anything, as curl does, gets the older form, which is all that
    `promtool check metrics` reads."""
    return accept is not None and "application/openmetrics-text" not in accept
