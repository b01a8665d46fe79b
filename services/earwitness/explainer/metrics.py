"""Prometheus metrics of the explainer's work, in the registry of its server."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from earwitness.explainer.admission import Admission
from earwitness.explainer.search import Progress
from earwitness.inference.metadata import Role

# From a tiny model in process to a full batch on a busy CPU.
BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class ExplainerMetrics:
    """Labels are names of served models and the three roles, so they stay bounded."""

    def __init__(self, registry: CollectorRegistry, admission: Admission) -> None:
        model = ("model",)
        self._steps = Counter("explainer_steps", "Search steps evaluated, whole batches.", model, registry=registry)
        self._row_steps = Counter(
            "explainer_row_steps", "Search steps evaluated, row by row.", model, registry=registry
        )
        self._step_seconds = Histogram(
            "explainer_step_seconds", "Time of a search step of a batch.", model, buckets=BUCKETS_S, registry=registry
        )
        self._zero = Counter(
            "explainer_gradient_zero", "Row steps whose gradient was zero but for the prior.", model, registry=registry
        )
        self._inference_seconds = Histogram(
            "explainer_inference_seconds",
            "Time of a call to a served model.",
            (*model, "role"),
            buckets=BUCKETS_S,
            registry=registry,
        )
        self.rows_in_flight = Gauge("explainer_rows_in_flight", "Rows of the searches that run.", registry=registry)
        running = Gauge("explainer_searches_in_flight", "Searches that run.", registry=registry)
        running.set_function(lambda: admission.running)
        waiting = Gauge("explainer_queue_depth", "Searches that wait for a slot.", registry=registry)
        waiting.set_function(lambda: admission.waiting)

    def step(self, model: str, progress: Progress) -> None:
        """Count one evaluation of a batch."""
        self._steps.labels(model).inc()
        self._row_steps.labels(model).inc(progress.row_count)
        self._step_seconds.labels(model).observe(progress.step_s)
        self._zero.labels(model).inc(progress.zero_gradient_count)

    def inference(self, model: str, role: Role, seconds: float) -> None:
        """Count one call to a served model."""
        self._inference_seconds.labels(model, role).observe(seconds)
