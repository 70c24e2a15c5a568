"""Counts duplicate rows of a file of any size in at most about 40 MB."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

#: Fingerprints kept at a time, 8 bytes each; arrays grow by an eighth more than they hold.
MAX_KEPT = 3_000_000
#: Fingerprints are spread over so many arrays, so that a set is made of one of them at a time only.
_BUCKETS = 64


class DuplicateCounter:
    """Takes a 64-bit fingerprint a row. Any two rows of 10 million share one by chance with probability 3e-6.

    Over MAX_KEPT rows, half of all possible fingerprints is let go, and so on: what is left is a fair sample
    of the distinct rows, each with all of its copies.
    """

    def __init__(self, max_kept: int = MAX_KEPT) -> None:
        self._max_kept = max_kept
        self._buckets = [array("q") for _ in range(_BUCKETS)]

    def add(self, fingerprints: Iterable[int]) -> None:
        """Take the fingerprints of more rows."""
        buckets = self._buckets
        if len(buckets) == _BUCKETS:
            for fingerprint in fingerprints:
                buckets[fingerprint & 63].append(fingerprint)
        else:
            for fingerprint in fingerprints:
                if (number := fingerprint & 63) < len(buckets):
                    buckets[number].append(fingerprint)
        while len(buckets) > 1 and sum(map(len, buckets)) > self._max_kept:
            del buckets[len(buckets) // 2 :]

    @property
    def is_exact(self) -> bool:
        """True while every row is compared with every other; else ``count`` is scaled up from a sample."""
        return len(self._buckets) == _BUCKETS

    def count(self) -> int:
        """Return how many rows are copies of an earlier one."""
        found = sum(len(bucket) - len(set(bucket)) for bucket in self._buckets)
        return round(found * _BUCKETS / len(self._buckets))
