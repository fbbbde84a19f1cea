"""Which of the other boxes have which data, as far as it is known: of equal devices, those are better that need nothing
sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.protocol.boxes import Blob
from gpujobs.store.store import Store


class Whereabouts(Mapping[int, frozenset[str]]):
    """By job: the nodes that have all of its data; empty where it has none that would be sent. The daemon's own box has
    all of it. What a box has thrown away meanwhile is found out when it is prepared for the next job."""

    def __init__(self, store: Store, cache: JobCache, own_name: str, others: Iterable[str]) -> None:
        """`others`: the boxes that have joined before. What was sent to them is in the history of attempts."""
        self._store = store
        self._cache = cache
        self._own_name = own_name
        self._nodes: dict[tuple[int, str], set[str]] = {}
        """By user and hash."""
        for node in others:
            for uid, sha256 in store.sent_to(node):
                self._nodes.setdefault((uid, sha256), set()).add(node)

    def found(self, node: str, blobs: Iterable[Blob]) -> None:
        """They are there."""
        for blob in blobs:
            self._nodes.setdefault((blob.uid, blob.sha256), set()).add(node)

    def missed(self, node: str, blobs: Iterable[Blob]) -> None:
        """They are not there, or not any more."""
        for blob in blobs:
            nodes = self._nodes.get((blob.uid, blob.sha256), set())
            nodes.discard(node)
            if not nodes:
                self._nodes.pop((blob.uid, blob.sha256), None)

    def __getitem__(self, job: int) -> frozenset[str]:
        known = self._cache.jobs[job]
        needs = {(known.uid, one.sha256) for one in self._store.data(job) if one.in_place is None}
        if not needs:
            return frozenset()
        there = set.intersection(*(self._nodes.get(one, set()) for one in needs))
        return frozenset({self._own_name, *there})

    def __iter__(self) -> Iterator[int]:
        return iter(self._cache.jobs)

    def __len__(self) -> int:
        return len(self._cache.jobs)
