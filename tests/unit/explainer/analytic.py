"""Models whose searches can be checked by hand: the search graph's answers in numpy, without any backend."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from earwitness.explainer.plan import Limits, Plan, plan_search
from earwitness.explainer.search import Budget, Progress, search
from earwitness.explainer.state import Outcome
from earwitness.inference.backend import FloatArray
from earwitness.inference.metadata import BundleMetadata, Layer, UnitLabel
from earwitness.vocabulary.objective import Objective
from earwitness.vocabulary.search import Row, Search, Settings

Z = 5
LIMITS = Limits(max_rows=256, max_steps=10_000, max_draws=100_000)
UNITS = 3


def bundle(name: str = "analytic", *, latent_size: int = Z) -> BundleMetadata:
    """A bundle with the layers `hidden` (2 units) and `out` (UNITS units)."""
    return BundleMetadata(
        name=name,
        latent_size=latent_size,
        sample_rate_hz=8_000,
        spectrogram_shape=(4, 6),
        layers=(Layer("hidden", "dense", 2, 0), Layer("out", "output", UNITS, 2)),
        labels=(UnitLabel(0, "high", "low"),),
        features={},
        training_data="none",
        weights_sha256="0" * 64,
    )


@dataclass
class Model:
    """a(z) = `units(z)` [n, U] with the Jacobian `slopes(z)` [n, U, Z]; answers as the search graph would.

    `spoil` may change the gradient [n, Z]; `calls` are the batch sizes asked for.
    """

    units: Callable[[FloatArray], FloatArray]
    slopes: Callable[[FloatArray], FloatArray]
    spoil: Callable[[FloatArray], FloatArray] = lambda gradient: gradient
    calls: list[int] = field(default_factory=list)

    async def evaluate(
        self,
        latents: FloatArray,
        unit_weights: FloatArray,
        prior_weights: FloatArray,
        *,
        timeout_s: float | None = None,
    ) -> tuple[FloatArray, FloatArray]:
        """See `search.Evaluate`."""
        self.calls.append(len(latents))
        with np.errstate(over="ignore", invalid="ignore"):  # as inference servers do
            activation = (self.units(latents) * unit_weights).sum(axis=1)
            gradient = (self.slopes(latents) * unit_weights[:, :, None]).sum(axis=1)
            gradient = self.spoil(gradient) - 2 * prior_weights * latents
            return activation.astype(np.float32), gradient.astype(np.float32)

    async def activate(self, latents: FloatArray, layers: Sequence[str], budget: Budget) -> dict[str, FloatArray]:
        """See `search.Classify`."""
        self.calls.append(len(latents))
        return await self.classify(latents, layers)

    async def classify(self, latents: FloatArray, layers: Sequence[str]) -> dict[str, FloatArray]:
        """See `probe.Classify`; the layers are those of `bundle()`."""
        units = self.units(latents).astype(np.float32)
        of = {layer.name: units[:, layer.first_unit : layer.first_unit + layer.unit_count] for layer in bundle().layers}
        return {name: of[name] for name in layers}


_DRAW = np.random.default_rng(5)
MATRIX = _DRAW.normal(size=(2 + UNITS, Z)).astype(np.float32)
CENTRES = _DRAW.normal(size=(2 + UNITS, Z)).astype(np.float32)


def linear() -> Model:
    """a_u = z · MATRIX[u]; with a prior λ the objective's optimum is ±MATRIX[u] / 2λ."""
    return Model(lambda z: z @ MATRIX.T, lambda z: np.broadcast_to(MATRIX, (len(z), *MATRIX.shape)))


def hills() -> Model:
    """a_u = −‖z − CENTRES[u]‖²: highest, 0, at its centre."""

    def away(z: FloatArray) -> FloatArray:
        return z[:, None, :] - CENTRES

    return Model(lambda z: -(away(z) ** 2).sum(axis=2), lambda z: -2 * away(z))


def waves() -> Model:
    """a_u = sin(z · MATRIX[u]): smooth and curved everywhere."""
    return Model(lambda z: np.sin(z @ MATRIX.T), lambda z: np.cos(z @ MATRIX.T)[:, :, None] * MATRIX)


OUT_0 = Objective("out", 0, "maximise")


def plan_rows(rows: Sequence[Row], *, objective: Objective = OUT_0, settings: Settings | None = None) -> Plan:
    """The plan of `rows` on `bundle()`."""
    return plan_search(Search("analytic", tuple(rows), objective, settings or Settings()), bundle(), LIMITS)


async def run(plan: Plan, model: Model, budget: Budget | None = None) -> tuple[list[Progress], Outcome]:
    """The search's events: all progress and the outcome."""
    events = [event async for event in search(plan, model.evaluate, model.activate, budget or Budget())]
    outcome = events.pop()
    assert isinstance(outcome, Outcome)
    progress = [event for event in events if isinstance(event, Progress)]
    assert len(progress) == len(events)
    return progress, outcome
