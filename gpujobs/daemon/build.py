"""How the daemon is put together: each part is made when all that it uses is there, so that this file, read from top to
bottom, says who knows whom. What runs against that order goes through `Observers`, and is joined at the end."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Address

from gpujobs.cluster import roster
from gpujobs.cluster.link import ClusterLink
from gpujobs.config import site as siteconfig
from gpujobs.config.settings import Settings, cluster_address
from gpujobs.daemon.access.connections import RequestLimiter
from gpujobs.daemon.devices.admission import NodeAdmission
from gpujobs.daemon.devices.drains import Drains
from gpujobs.daemon.devices.foreign_charges import ForeignCharge
from gpujobs.daemon.devices.foreign_monitor import ForeignProcessMonitor
from gpujobs.daemon.devices.job_mapping import JobMapping, directory_in
from gpujobs.daemon.devices.leases import Leases
from gpujobs.daemon.devices.membership import Membership
from gpujobs.daemon.devices.memory_monitor import MemoryMonitor
from gpujobs.daemon.devices.nodes import Nodes
from gpujobs.daemon.devices.outgrown import OutgrownMonitor
from gpujobs.daemon.devices.poller import DevicePoller
from gpujobs.daemon.devices.presence_monitor import PresenceMonitor
from gpujobs.daemon.devices.sampler import DeviceSampler
from gpujobs.daemon.devices.service import DeviceService
from gpujobs.daemon.devices.usage import UsageCache
from gpujobs.daemon.dispatch import Dispatcher
from gpujobs.daemon.forecast import Forecast
from gpujobs.daemon.in_force import InForce
from gpujobs.daemon.jobs.attempts import Attempts
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.jobs.collecting import Collector
from gpujobs.daemon.jobs.device_use import DeviceUses
from gpujobs.daemon.jobs.homecoming import Homecoming
from gpujobs.daemon.jobs.lacking import Lacking
from gpujobs.daemon.jobs.queries import JobQueries
from gpujobs.daemon.jobs.service import JobService
from gpujobs.daemon.jobs.specs import Specs
from gpujobs.daemon.jobs.submit import SubmissionService
from gpujobs.daemon.jobs.supply import Supply
from gpujobs.daemon.jobs.uploads import Uploads
from gpujobs.daemon.jobs.whereabouts import Whereabouts
from gpujobs.daemon.journal import Journal
from gpujobs.daemon.keeping.on_nodes import NodeKeeping
from gpujobs.daemon.keeping.retention import Retention
from gpujobs.daemon.live.broadcast import Broadcaster
from gpujobs.daemon.modes import Mode
from gpujobs.daemon.news.orders import Orders
from gpujobs.daemon.news.outbox import Outbox
from gpujobs.daemon.news.service import NewsService
from gpujobs.daemon.observers import Observers
from gpujobs.daemon.shutdown import Shutdown
from gpujobs.daemon.site_service import SiteService
from gpujobs.daemon.snapshot_builder import SnapshotBuilder
from gpujobs.daemon.standing import Standing
from gpujobs.daemon.tasks import Tasks
from gpujobs.daemon.writer import StoreWriter
from gpujobs.linux.stateid import state_id
from gpujobs.model import Job, Node, utc_now
from gpujobs.node.probe import DEADLINE_SECONDS
from gpujobs.paths import StatePaths
from gpujobs.policy import occupancies
from gpujobs.policy.inputs.rules import ForeignPolicy
from gpujobs.protocol.events import AttemptEvent, NodeReported
from gpujobs.protocol.settings import Listening, NodeSettings
from gpujobs.store.opening import open_store
from gpujobs.store.store import Store
from gpujobs.store.usage import EndedUsage


@dataclass(frozen=True, slots=True)
class Parts:
    """What the daemon starts and closes, and what its server gives to handlers."""

    settings: Settings
    mode: Mode
    node_name: str
    paths: StatePaths
    state_id: str
    in_force: InForce
    store: Store
    notices: Sequence[str]
    writer: StoreWriter
    journal: Journal
    cache: JobCache
    link: ClusterLink
    nodes: Nodes
    membership: Membership
    snapshots: SnapshotBuilder
    foreign: ForeignProcessMonitor
    charge: ForeignCharge | None
    homecoming: Homecoming
    sampler: DeviceSampler
    presence: PresenceMonitor
    uploads: Uploads
    lacking: Lacking
    retention: Retention
    specs: Specs
    attempts: Attempts
    poller: DevicePoller
    mapping: JobMapping
    dispatcher: Dispatcher
    admission: NodeAdmission
    shutdown: Shutdown
    tasks: Tasks
    limiter: RequestLimiter
    # What handlers are given
    submissions: SubmissionService
    jobs: JobService
    queries: JobQueries
    devices: DeviceService
    site: SiteService
    live: Broadcaster
    news: NewsService
    outbox: Outbox


def build(settings: Settings) -> Parts:
    """Opens the store, and starts nothing. Raises StoreError, ConfigError."""
    paths, node_name = StatePaths(settings.state_dir), socket.gethostname()
    in_force = InForce(settings, siteconfig.read(settings.config))
    mode, site, rules = in_force.mode, in_force.site, in_force.rules
    half_life = rules.priority.half_life_seconds
    tasks, changed = Tasks(), Observers[[]]()

    # The store, who writes it, and what is remembered of it
    store, notices = open_store(paths)
    cache = JobCache(store.unfinished())
    announcements, events = Observers[[NodeReported]](), Observers[[AttemptEvent]]()
    identity = state_id(paths.identity)
    own = NodeSettings(node_name, str(paths.root), settings.cpu_slots, DEADLINE_SECONDS, identity, identity)
    listening = _listening(site)
    link = ClusterLink(
        paths, own, listening, settings.ray_address, on_node=announcements.tell, on_attempt=events.tell
    )
    others = [name for name in roster.known(paths.nodes) if name != node_name]
    nodes = Nodes(link, node_name, settings.cpu_slots, others)
    journal = Journal(store.history, nodes.device_name, lambda: nodes.has_others)
    mapping = JobMapping(cache, nodes, node_name, lambda: directory_in(in_force))
    committed = Observers[[]]()
    writer = StoreWriter(store, cache, committed.tell)
    membership = Membership()
    usage = _usage(store, half_life)

    # What the policy is shown
    drains = Drains(store.devices, writer)
    memory = MemoryMonitor(cache, store.usage, writer, rules.packing.settle_seconds)
    snapshots = SnapshotBuilder(cache, drains, usage, memory, membership, store.reservations, rules)
    forecast = Forecast(lambda: snapshots.snapshot(nodes.known))
    standing = Standing(in_force, snapshots, nodes)

    # What jobs need, and their attempts
    uploads = Uploads(store, writer, paths, in_force.quotas)
    lacking = Lacking(store, writer, cache, uploads)
    leases = Leases(link, site.cluster.lease)
    homecoming = Homecoming(store, link, nodes, paths, lambda: in_force.site.quotas, leases.left)
    elsewhere = NodeKeeping(store, link, nodes, homecoming)
    retention = Retention(store, writer, paths, lambda: in_force.site.retention, elsewhere)
    is_site = mode is Mode.SITE
    specs = Specs(store, paths, site, identity, changes_identity=is_site, require_gpu=settings.require_gpu)
    sampler = DeviceSampler(cache, writer)
    uses = DeviceUses(store, cache, sampler.of)
    collector = Collector(store, link, paths, in_force.access, site.quotas, uses.at_its_end, homecoming)
    ends = Observers[[Job]]()
    whereabouts = Whereabouts(store, cache, node_name, others)
    attempts = Attempts(
        store,
        writer,
        cache,
        nodes,
        link,
        specs,
        collector,
        Supply(store, link, paths, homecoming, whereabouts, lambda: in_force.site.nodes),
        homecoming,
        leases.granted,
        on_change=changed.tell,
        on_end=ends.tell,
    )

    # Who looks at the devices
    foreign = ForeignProcessMonitor(
        writer,
        cache,
        attempts.begin_stop,
        names_people=rules.names_people,
        are_welcome=rules.foreign is ForeignPolicy.IGNORE,
    )
    outgrown = OutgrownMonitor(snapshots, writer, attempts.begin_stop)
    charges = rules.foreign is ForeignPolicy.CHARGE
    charge = ForeignCharge(usage, store.usage, writer, half_life) if charges else None
    presence = PresenceMonitor(cache, writer, store.first_seen())
    poller = DevicePoller(cache, nodes, always=charges, pace=lambda: nodes.pace_seconds)
    admission = NodeAdmission(cache, nodes, link, attempts, poller, tasks, changed, leases)

    # Who decides
    launched = Observers[[Job]]()
    dispatcher = Dispatcher(
        writer,
        cache,
        nodes,
        snapshots,
        launch=launched.tell,
        stop=attempts.begin_stop,
        may_start=lacking.may_start,
        holds=attempts.holds.applied,
        decided=attempts.residents.let_go,
        near=whereabouts,
        recent=nodes.recent,
    )

    # What handlers are given
    jobs = JobService(
        store, writer, cache, attempts, uploads, membership, in_force, dispatcher, changed, nodes
    )
    shutdown = Shutdown(mode, cache, dispatcher, jobs, tasks, changed)
    submissions = SubmissionService(
        store,
        writer,
        cache,
        nodes,
        link,
        memory,
        membership,
        uploads,
        specs,
        forecast,
        in_force,
        changed,
    )
    queries = JobQueries(
        store, cache, forecast, link, foreign, standing, uses, lambda: nodes.known if nodes.has_others else ()
    )
    devices = DeviceService(
        nodes,
        snapshots,
        drains,
        store.devices,
        store.reservations,
        writer,
        in_force,
        admission,
        paths.nodes,
        changed,
    )
    site_service = SiteService(
        utc_now(),
        in_force,
        paths,
        store,
        notices,
        nodes,
        link,
        admission,
        retention,
        standing,
        shutdown,
    )
    live = Broadcaster(cache, nodes.probe, queries.apart.run)
    orders = Orders(in_force, identity, specs.identity)
    outbox = Outbox(store, writer, cache, in_force, orders, tasks)
    news = NewsService(store, writer, in_force, orders)

    # Who hears of what
    def tidy(node: str) -> None:
        if nodes.is_remote(node):
            tasks.spawn(elsewhere.tidy(node))

    def rules_changed() -> None:
        """For those who hold a copy of a rule."""
        snapshots.rules = in_force.rules
        memory.settle_seconds = in_force.rules.packing.settle_seconds
        foreign.names_people = in_force.rules.names_people
        uploads.quotas = in_force.quotas
        specs.site = in_force.site
        collector.configure(in_force.access, in_force.site.quotas)

    def charge_foreign(read: Sequence[Node]) -> None:
        if charge is not None:
            charge.observe(occupancies(snapshots.snapshot(read)))

    nodes.hidden = attempts.residents.hidden
    memory.has_taken_over = attempts.residents.has_taken_over
    committed.add(journal.wake, outbox.wake, mapping.wake)
    changed.add(dispatcher.wake, shutdown.look)
    in_force.changed.add(rules_changed, dispatcher.wake, outbox.wake, mapping.wake)
    announcements.add(admission.on_node)
    admission.admitted.add(tidy)
    events.add(attempts.on_event)
    ends.add(memory.ended, sampler.ended, lambda job: usage.add(_ended_usage(job)))
    launched.add(attempts.launch, lambda _: poller.begin())
    uploads.arrivals.add(lacking.arrived, lambda *_: dispatcher.wake())
    # In this order: what is drained and measured counts in the snapshot that the last two look at.
    nodes.readings.add(drains.observe, memory.observe, foreign.observe, outgrown.observe, charge_foreign)
    nodes.readings.add(sampler.observe, presence.observe, lambda _: mapping.wake())

    return Parts(
        settings=settings,
        mode=mode,
        node_name=node_name,
        paths=paths,
        state_id=identity,
        in_force=in_force,
        store=store,
        notices=notices,
        writer=writer,
        journal=journal,
        cache=cache,
        link=link,
        nodes=nodes,
        membership=membership,
        snapshots=snapshots,
        foreign=foreign,
        charge=charge,
        homecoming=homecoming,
        sampler=sampler,
        presence=presence,
        uploads=uploads,
        lacking=lacking,
        retention=retention,
        specs=specs,
        attempts=attempts,
        poller=poller,
        mapping=mapping,
        dispatcher=dispatcher,
        admission=admission,
        shutdown=shutdown,
        tasks=tasks,
        limiter=RequestLimiter(),
        submissions=submissions,
        jobs=jobs,
        queries=queries,
        devices=devices,
        site=site_service,
        live=live,
        outbox=outbox,
        news=news,
    )


def _listening(site: siteconfig.SiteConfig) -> Listening | None:
    """Where other boxes can join, and whether what crosses the network is encrypted."""
    if site.cluster.listen is None:
        return None
    address, port = cluster_address(site.cluster.listen)
    tls = site.cluster.tls
    return Listening(address, port, tls if tls is not None else not IPv4Address(address).is_loopback)


def _usage(store: Store, half_life_seconds: float) -> UsageCache:
    """After ten half-lives a thousandth is left, which decides nothing."""
    begin = utc_now() - timedelta(seconds=10 * half_life_seconds)
    return UsageCache(store.usage.since(begin), store.usage.foreign(), half_life_seconds)


def _ended_usage(job: Job) -> EndedUsage:
    current = job.current
    assert current is not None and current.ended_at is not None
    return EndedUsage(
        job.user,
        current.started_at,
        current.ended_at,
        current.gpu_memory_bytes,
        current.device_memory_bytes,
    )
