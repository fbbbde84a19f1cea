"""What `gpujobs check` says of a job that trains (docs/check.md has the meaning of each part)."""

from gpujobs.trainer.checking.report import report

__all__ = ["report"]
