"""What Python programs and notebooks build on: `from gpujobs import Client`. numpy is imported by predictions alone."""

from gpujobs.api.client import Client
from gpujobs.api.job import Job, JobTimeoutError

__all__ = ["Client", "Job", "JobTimeoutError"]
