"""Where handlers find the caller, and the services that they use. A handler names those alone that it needs: one can be
tried with an application that has nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from gpujobs.model import Caller

if TYPE_CHECKING:
    from gpujobs.daemon.devices.service import DeviceService
    from gpujobs.daemon.jobs.queries import JobQueries
    from gpujobs.daemon.jobs.service import JobService
    from gpujobs.daemon.jobs.submit import SubmissionService
    from gpujobs.daemon.jobs.uploads import Uploads
    from gpujobs.daemon.live.broadcast import Broadcaster
    from gpujobs.daemon.news.service import NewsService
    from gpujobs.daemon.site_service import SiteService
    from gpujobs.daemon.web.listener import WebDoor

JOBS: web.AppKey[JobService] = web.AppKey("jobs")
JOB_QUERIES: web.AppKey[JobQueries] = web.AppKey("job_queries")
SUBMISSIONS: web.AppKey[SubmissionService] = web.AppKey("submissions")
UPLOADS: web.AppKey[Uploads] = web.AppKey("uploads")
DEVICES: web.AppKey[DeviceService] = web.AppKey("devices")
SITE: web.AppKey[SiteService] = web.AppKey("site")
LIVE: web.AppKey[Broadcaster] = web.AppKey("live")
NEWS: web.AppKey[NewsService] = web.AppKey("news")
WEB: web.AppKey[WebDoor] = web.AppKey("web")
CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)


def caller_of(request: web.Request) -> Caller:
    return request[CALLER]
