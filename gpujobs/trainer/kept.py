"""What a trainer keeps from one job to the next of the same signature, and how each begins as if it were alone."""

from __future__ import annotations


class Kept:
    """Of one process: made once, and given to each of its jobs, one after the other."""

    def anew(self) -> None:
        """Before each job but the first: what a process has of its past is as in one that has just begun."""
