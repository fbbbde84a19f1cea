"""One file for each kind of request; the table of all of them is here."""

from __future__ import annotations

from gpujobs.daemon.handlers import (
    act,
    backup,
    data,
    doctor,
    gpus,
    info,
    jobs,
    log,
    prune,
    queue,
    ranking,
    report,
    reservations,
    results,
    stop,
    submit,
    timeline,
    watch,
    web,
)

ROUTES = [
    ("GET", "/v1/info", info.handle),
    ("POST", "/v1/jobs", submit.handle),
    ("POST", "/v1/requests/withdraw", submit.withdraw),
    ("POST", "/v1/check", submit.check),
    ("PUT", "/v1/data/{sha256}", data.handle),
    ("GET", "/v1/jobs", jobs.list_jobs),
    ("GET", "/v1/jobs/{id:[0-9]{1,18}}", jobs.show),
    ("GET", "/v1/jobs/{id:[0-9]{1,18}}/log", log.handle),
    ("POST", f"/v1/jobs/{{action:{'|'.join(act.ACTIONS)}}}", act.handle),
    ("GET", "/v1/queue", queue.handle),
    ("GET", "/v1/queue/watch", queue.watch),
    ("GET", "/v1/watch", watch.handle),
    ("GET", "/v1/gpus", gpus.handle),
    ("POST", "/v1/gpus/drain", gpus.drain),
    ("POST", "/v1/gpus/resume", gpus.resume),
    ("GET", "/v1/timeline", timeline.handle),
    ("GET", "/v1/report", report.handle),
    ("GET", "/v1/reservations", reservations.listing),
    ("POST", "/v1/reservations", reservations.make),
    ("POST", "/v1/reservations/{id:[0-9]+}/cancel", reservations.cancel),
    ("GET", "/v1/results", results.catalogue),
    ("GET", "/v1/ranking", ranking.handle),
    ("GET", "/v1/results/{id:[0-9]{1,18}}/{file:.+}", results.file),
    ("POST", "/v1/prune", prune.handle),
    ("POST", "/v1/stop", stop.handle),
    ("GET", "/v1/doctor", doctor.handle),
    ("GET", "/v1/backup", backup.handle),
    ("POST", "/v1/web/link", web.link),
]

ON_SOCKET_ALONE = frozenset({web.link, backup.handle, stop.handle})
"""Not on the pages' address: a cookie is no reason to end the daemon, or to get another one."""

LASTING = frozenset(
    {watch.handle, queue.watch, log.handle, data.handle, results.file, stop.handle, backup.handle}
)
"""Requests that last as long as their user likes, and cost little meanwhile."""
