"""Prometheus metrics of the explainer's work, in the registry of its server."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from earwitness.explainer.admission import Admission
from earwitness.explainer.search import Progress
from earwitness.inference.metadata import Role
from earwitness.vocabulary.objective import Sense

ACTIVATIONS = (-1000, -300, -100, -30, -10, -3, -1, -0.3, 0, 0.3, 1, 3, 10, 30, 100, 300, 1000)
# From a tiny model in process to a full batch on a busy CPU.
BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class ExplainerMetrics:
    """Labels are names of served models and the three roles, so they stay bounded."""

    def __init__(self, registry: CollectorRegistry) -> None:
        model = ("model",)
        self._steps = Counter("explainer_steps", "Search steps evaluated, whole batches.", model, registry=registry)
        self._row_steps = Counter(
            "explainer_row_steps", "Search steps evaluated, row by row.", model, registry=registry
        )
        self._step_seconds = Histogram(
            "explainer_step_seconds", "Time of a search step of a batch.", model, buckets=BUCKETS_S, registry=registry
        )
        self._draws = Counter(
            "explainer_draws", "Latents drawn from the prior and classified.", model, registry=registry
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
        self._inference_failures = Counter(
            "explainer_inference_failures",
            "Calls to a served model that failed.",
            (*model, "role", "reason"),
            registry=registry,
        )
        self._best_activation = Histogram(
            "explainer_best_activation",
            "Activation of an explanation, the best that its row found.",
            (*model, "sense"),
            buckets=ACTIVATIONS,
            registry=registry,
        )
        self._sweeps = Counter("explainer_sweeps", "Sweeps that are over, by how.", ("state",), registry=registry)
        self.unfinished_sweeps = Gauge(
            "explainer_unfinished_sweeps", "Sweeps in the database that run or wait.", registry=registry
        )
        self.rows_in_flight = Gauge("explainer_rows_in_flight", "Rows of the searches that run.", registry=registry)
        self._running = Gauge("explainer_searches_in_flight", "Searches that run.", registry=registry)
        self._waiting = Gauge("explainer_queue_depth", "Searches that wait for a slot.", registry=registry)

    def watch(self, admission: Admission) -> None:
        """Show how many searches it lets run and has wait."""
        self._running.set_function(lambda: admission.running)
        self._waiting.set_function(lambda: admission.waiting)

    def step(self, model: str, progress: Progress) -> None:
        """Count one evaluation of a batch."""
        if progress.drawing:
            self.drawn(model, progress.row_count)
            return
        self._steps.labels(model).inc()
        self._row_steps.labels(model).inc(progress.row_count)
        self._step_seconds.labels(model).observe(progress.step_s)
        self._zero.labels(model).inc(progress.zero_gradient_count)

    def drawn(self, model: str, count: int) -> None:
        """Count latents that were drawn and classified."""
        self._draws.labels(model).inc(count)

    def inference(self, model: str, role: Role, seconds: float, failure: str) -> None:
        """Count one call to a served model; `failure` is its reason, "" where it worked."""
        self._inference_seconds.labels(model, role).observe(seconds)
        if failure:
            self._inference_failures.labels(model, role, failure).inc()

    def explanation(self, model: str, sense: Sense, activation: float) -> None:
        """Count one row of a search that is over."""
        self._best_activation.labels(model, sense).observe(activation)

    def sweep_over(self, state: str) -> None:
        """Count one sweep that is over."""
        self._sweeps.labels(state).inc()
