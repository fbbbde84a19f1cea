"""gpujobs: a job runner for LSTM training on shared GPU machines.

from gpujobs import Client

with Client() as c:
    job = c.submit("job.yaml").wait()
    print(job.state, job.metrics["final"], job.predictions["y_class"])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpujobs.api import Client, Job, JobTimeoutError

__version__ = "0.1.0"
__all__ = ["Client", "Job", "JobTimeoutError", "__version__"]


def __getattr__(name: str) -> Any:
    """Late, because every process of gpujobs imports this, and few ask for a client."""
    if name in __all__:
        from gpujobs import api

        return getattr(api, name)
    raise AttributeError(f"module 'gpujobs' has no attribute {name!r}")
