"""Prometheus metrics of a service's database."""

from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Histogram

Access = Literal["read", "write"]
# From a SQLite file in memory to a writer that waited for others.
BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class StoreMetrics:
    """Transactions, their time and their failures."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "earwitness_store_seconds", "Time of a transaction, the wait for its lock included.", ["access"],
            buckets=BUCKETS_S, registry=registry,
        )  # fmt: skip
        self._failures = Counter(
            "earwitness_store_failures", "Transactions that the database could not do.", ["access"], registry=registry
        )
        for access in ("read", "write"):
            self._seconds.labels(access)
            self._failures.labels(access)

    def transaction(self, access: Access, seconds: float, *, failed: bool) -> None:
        """Count one."""
        self._seconds.labels(access).observe(seconds)
        if failed:
            self._failures.labels(access).inc()
