"""One file for each kind of request; the table of all of them is here."""

from __future__ import annotations

from gpujobs.daemon.handlers import (
    backup,
    cancel,
    check,
    data,
    doctor,
    drain,
    finish,
    gpus,
    hold,
    info,
    jobs,
    limit,
    log,
    nodes,
    notify,
    prioritize,
    prune,
    queue,
    ranking,
    release,
    report,
    requeue,
    reservations,
    reserve,
    results,
    resume,
    show,
    stop,
    submit,
    timeline,
    unreserve,
    watch,
    web,
)

CHANGES = (cancel, hold, release, requeue, prioritize, finish, limit)
"""What is done to jobs that exist."""

ROUTES = [
    ("GET", "/v1/info", info.handle),
    ("POST", "/v1/jobs", submit.handle),
    ("POST", "/v1/requests/withdraw", submit.withdraw),
    ("POST", "/v1/check", check.handle),
    ("PUT", "/v1/data/{sha256}", data.handle),
    ("GET", "/v1/jobs", jobs.handle),
    ("GET", "/v1/jobs/{id:[0-9]{1,18}}", show.handle),
    ("GET", "/v1/jobs/{id:[0-9]{1,18}}/log", log.handle),
    *(("POST", f"/v1/jobs/{verb.ACTION.verb}", verb.handle) for verb in CHANGES),
    ("GET", "/v1/queue", queue.handle),
    ("GET", "/v1/queue/watch", queue.watch),
    ("GET", "/v1/watch", watch.handle),
    ("GET", "/v1/gpus", gpus.handle),
    ("POST", "/v1/gpus/drain", drain.handle),
    ("POST", "/v1/gpus/resume", resume.handle),
    ("GET", "/v1/timeline", timeline.handle),
    ("GET", "/v1/report", report.handle),
    ("GET", "/v1/nodes", nodes.handle),
    ("POST", "/v1/nodes/token", nodes.token),
    ("GET", "/v1/nodes/tokens", nodes.tokens),
    ("POST", "/v1/nodes/remove", nodes.remove),
    ("POST", "/v1/nodes/revoke", nodes.revoke),
    ("POST", "/v1/nodes/renew", nodes.renew),
    ("GET", "/v1/reservations", reservations.handle),
    ("POST", "/v1/reservations", reserve.handle),
    ("POST", "/v1/reservations/{id:[0-9]+}/cancel", unreserve.handle),
    ("GET", "/v1/results", results.catalogue),
    ("GET", "/v1/ranking", ranking.handle),
    ("GET", "/v1/results/{id:[0-9]{1,18}}/{file:.+}", results.file),
    ("POST", "/v1/prune", prune.handle),
    ("POST", "/v1/stop", stop.handle),
    ("GET", "/v1/doctor", doctor.handle),
    ("GET", "/v1/backup", backup.handle),
    ("POST", "/v1/web/link", web.link),
    ("GET", "/v1/notify", notify.handle),
    ("POST", "/v1/notify", notify.change),
    ("POST", "/v1/notify/test", notify.test),
]

ON_SOCKET_ALONE = frozenset(
    {
        web.link,
        backup.handle,
        stop.handle,
        notify.handle,
        notify.change,
        notify.test,
        nodes.token,
    }
)
"""Not on the pages' address: a cookie is no reason to end the daemon, to get another one, to see URLs that are secrets,
or to have a command run."""

STREAMING = frozenset(
    {
        watch.handle,
        queue.watch,
        log.handle,
        data.handle,
        results.file,
        stop.handle,
        backup.handle,
        notify.test,
    }
)
"""Requests that last as long as their user likes, and cost little meanwhile."""
