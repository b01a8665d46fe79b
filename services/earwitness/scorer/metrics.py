"""The scorer's Prometheus metrics, beside the `grpc_server_*` metrics of every service."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
DISTANCES = (0.001, 0.01, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1_000, 10_000, 100_000, 1_000_000)


class ScorerMetrics:
    """The scorer's metrics in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.appends = Counter("scorer_appends", "Shards received whole.", ["result"], registry=registry)
        self.merges = Counter("scorer_merges", "Partials received whole.", ["result"], registry=registry)
        self.rows = Counter(
            "scorer_rows", "Rows counted in references: activations, and what partials stand for.", registry=registry
        )
        self.score_seconds = Histogram(
            "scorer_score_seconds", "Time of a score, its uncertainty included.", buckets=SECONDS, registry=registry
        )
        self.rank_seconds = Histogram(
            "scorer_rank_seconds", "Time of a ranking of batches.", buckets=SECONDS, registry=registry
        )
        self.nearness_seconds = Histogram(
            "scorer_nearness_seconds",
            "Time of measuring how near rows are to those of a reference.",
            buckets=SECONDS,
            registry=registry,
        )
        self.freeze_seconds = Histogram(
            "scorer_freeze_seconds",
            "Time of a freeze, which merges what was appended into a version.",
            buckets=SECONDS,
            registry=registry,
        )
        self.distance = Histogram(
            "scorer_distance", "Squared Fréchet distances returned.", buckets=DISTANCES, registry=registry
        )
        self.references = Gauge("scorer_references", "References in the store.", registry=registry)
        for result in ("added", "duplicate"):
            self.appends.labels(result)
            self.merges.labels(result)
