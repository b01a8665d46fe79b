"""What the explainer does: plan a search, run it, and make explanations of what it found."""

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from earwitness import tracing
from earwitness.errors import InvalidArgument
from earwitness.explainer.admission import Admission
from earwitness.explainer.errors import ModelNotFound, UnknownFeatures
from earwitness.explainer.metrics import ExplainerMetrics
from earwitness.explainer.plan import Artefact, Limits, Plan, PlannedRow, Search, check_limits, plan_search
from earwitness.explainer.probe import GradientProbe
from earwitness.explainer.render import Renderer
from earwitness.explainer.search import Budget, Progress, search
from earwitness.explainer.served import ServedBundle
from earwitness.explainer.settings import ExplainerSettings
from earwitness.explainer.state import Outcome, Trajectory
from earwitness.features import Audio, FeatureProfile, profile_from_dict
from earwitness.inference.backend import FloatArray, InferenceBackend, ModelUnusable
from earwitness.inference.metadata import BundleMetadata
from earwitness.rpc.context import RETURN_MARGIN_S

MAX_RESERVED = 0.5
"""At most this part of the caller's time is kept for rendering: its estimate may be far too high."""


@dataclass(frozen=True, eq=False)
class Found:
    """A search that is over: `spectrograms` [B, bands, frames] of the best latents and, by the name of each layer that
    some objective has, `layer_activations` [B, units]; `budget` is the time to render them in."""

    plan: Plan
    outcome: Outcome
    spectrograms: FloatArray
    layer_activations: dict[str, FloatArray]
    artefacts: frozenset[Artefact]
    profile: FeatureProfile | None
    backend: str
    budget: Budget


@dataclass(frozen=True, eq=False)
class Explanation:
    """The best iterate of one row; `latent` [Z], `spectrogram` [bands, frames], `layer_activations` [units].

    `cut_short` where the time did not suffice for the sound or the picture that was asked for.
    """

    row_index: int
    row: PlannedRow
    activation: float
    best_step: int
    diverged_step: int | None
    latent: FloatArray
    spectrogram: FloatArray
    layer_activations: FloatArray
    audio: Audio | None
    picture_png: bytes | None
    trajectory: Trajectory | None
    cut_short: bool


class Explainer:
    """Explains the bundles of one backend, within limits."""

    def __init__(self, backend: InferenceBackend, settings: ExplainerSettings, metrics: ExplainerMetrics) -> None:
        self._backend = backend
        self._settings = settings
        self._limits = Limits(settings.max_rows, settings.max_steps)
        self._admission = Admission(settings.max_concurrent_searches, settings.max_waiting_searches)
        self._probe = GradientProbe()
        self._renderer = Renderer(settings.render_threads)
        self._metrics = metrics
        metrics.watch(self._admission)

    @property
    def max_rows(self) -> int:
        """Rows that one search may have."""
        return self._limits.max_rows

    async def models(self) -> Sequence[BundleMetadata]:
        """Every bundle that can be explained, sorted by name. Raises: InferenceUnavailable."""
        return await self._backend.bundles()

    async def unusable_models(self) -> Mapping[str, str]:
        """Those that are there and cannot be used, by name, each with the reason. Raises: InferenceUnavailable."""
        return await self._backend.left_out()

    async def model(self, name: str) -> BundleMetadata:
        """The bundle of that name. Raises: ModelNotFound, ModelUnusable, InferenceUnavailable."""
        bundles = await self._backend.bundles()
        for bundle in bundles:
            if bundle.name == name:
                return bundle
        left_out = await self._backend.left_out()
        if name in left_out:
            raise ModelUnusable(name, left_out[name])
        raise ModelNotFound(name, [bundle.name for bundle in bundles])

    async def search(
        self,
        request: Search,
        artefacts: frozenset[Artefact],
        *,
        time_left_s: float | None = None,
        max_response_bytes: int | None = None,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> Found:
        """Check the whole request, then search until `time_left_s` is nearly over; cancelling stops it within one step.

        `max_response_bytes` is set where all explanations travel in one message. `on_progress` is told each step.

        Raises: InvalidArgument, ModelNotFound, ModelUnusable, UnknownFeatures before any work; TooManySearches;
        ZeroGradient, FrozenGradient, WrongGradient, InconsistentModel, NonFiniteModel; NothingSearchedYet,
        TimeoutError; InferenceUnavailable, InferenceFailed; ModelExchanged when other weights are served since the
        search was planned.
        """
        end_s = math.inf if time_left_s is None else time.monotonic() + time_left_s
        check_limits(request, self._limits)
        bundle = await self.model(request.model)
        plan = plan_search(request, bundle)
        profile = _profile(bundle, artefacts)
        if max_response_bytes is not None:
            _check_size(plan, artefacts, profile, max_response_bytes)
        served = self.serve(bundle)
        async with self._admission.slot():
            self._metrics.rows_in_flight.inc(len(plan.rows))
            try:
                with tracing.span("search", _about(plan)) as span:
                    await self.check_gradients(plan, served)
                    outcome = await self._run(plan, served, self._budget(end_s, artefacts, len(plan.rows)), on_progress)
                    span.tell({"earwitness.stopped_by": outcome.stopped_by.value})
                    found = await self._found(plan, outcome, artefacts, profile, served, Budget(end_s))
                self._count_explanations(found)
                return found
            finally:
                self._metrics.rows_in_flight.dec(len(plan.rows))

    async def find_again(self, plan: Plan, outcome: Outcome, artefacts: frozenset[Artefact]) -> Found:
        """What was found by a search of long ago, whose `outcome` was kept: one pass through the networks.

        Raises: UnknownFeatures; TooManySearches; NonFiniteModel; InferenceUnavailable, InferenceFailed.
        """
        profile = _profile(plan.bundle, artefacts)
        async with self._admission.slot():
            return await self._found(plan, outcome, artefacts, profile, self.serve(plan.bundle), Budget())

    async def check_gradients(self, plan: Plan, served: ServedBundle) -> None:
        """Raises: ZeroGradient, FrozenGradient, WrongGradient, InconsistentModel, NonFiniteModel when the plan's layers
        are unfit."""
        await self._probe.check(
            plan.bundle, plan.layers, served.evaluate, served.classify, generation=self._backend.generation
        )

    def serve(self, bundle: BundleMetadata) -> ServedBundle:
        """The models of a bundle, called within the settings and counted."""
        return ServedBundle(
            bundle,
            self._backend,
            max_batch=self._settings.max_batch,
            calls_in_flight=self._settings.calls_in_flight,
            call_timeout_s=self._settings.inference_timeout_s,
            observe=partial(self._metrics.inference, bundle.name),
        )

    async def quiet(self, timeout_s: float) -> None:
        """Return when no search runs, or after `timeout_s` seconds: how background work lets callers go first."""
        await self._admission.quiet(timeout_s)

    def _count_explanations(self, found: Found) -> None:
        for row, activation in zip(found.plan.rows, found.outcome.activations, strict=True):
            self._metrics.explanation(found.plan.bundle.name, row.objective.sense, float(activation))

    async def _found(
        self,
        plan: Plan,
        outcome: Outcome,
        artefacts: frozenset[Artefact],
        profile: FeatureProfile | None,
        served: ServedBundle,
        budget: Budget,
    ) -> Found:
        layers = [layer.name for layer in plan.layers]
        spectrograms, activations = await served.forward(outcome.latents, layers, budget)
        rendering = Budget(budget.end_s - RETURN_MARGIN_S)
        return Found(plan, outcome, spectrograms, activations, artefacts, profile, self._backend.description, rendering)

    async def explanations(self, found: Found) -> AsyncGenerator[Explanation]:
        """The explanation of each row, in the order of the rows; a few are rendered ahead.

        Once the time is over the rows come without sound and picture: what was searched is not lost.
        """
        ahead: deque[asyncio.Task[Explanation]] = deque()
        try:
            for index in range(len(found.plan.rows)):
                ahead.append(asyncio.create_task(self._explanation(found, index)))
                if len(ahead) > self._renderer.threads:
                    yield await ahead.popleft()
            while ahead:
                yield await ahead.popleft()
        finally:
            for task in ahead:
                task.cancel()

    async def close(self) -> None:
        """Release the rendering threads; the backend is its owner's."""
        self._renderer.close()

    def _budget(self, end_s: float, artefacts: frozenset[Artefact], count: int) -> Budget:
        """The search's share of the time until `end_s`."""
        left_s = Budget(end_s).left_s()
        if left_s is None:
            return Budget()
        kept_s = RETURN_MARGIN_S + self._renderer.expected_s(artefacts, count)
        return Budget(end_s - min(kept_s, MAX_RESERVED * left_s))

    async def _run(
        self, plan: Plan, served: ServedBundle, budget: Budget, on_progress: Callable[[Progress], None]
    ) -> Outcome:
        outcome: Outcome | None = None
        async for event in search(plan, served.evaluate, budget):
            if isinstance(event, Outcome):
                outcome = event
            else:
                self._metrics.step(plan.bundle.name, event)
                on_progress(event)
        assert outcome is not None  # the last event of every search
        return outcome

    async def _explanation(self, found: Found, index: int) -> Explanation:
        row, outcome, spectrogram = found.plan.rows[index], found.outcome, found.spectrograms[index]
        activation, audio, picture = float(outcome.activations[index]), None, None
        cut_short = False
        if found.profile is not None:
            try:
                async with asyncio.timeout(found.budget.left_s()):
                    if Artefact.AUDIO in found.artefacts:
                        audio = await self._renderer.audio(found.profile, spectrogram)
                    if Artefact.PICTURE in found.artefacts:
                        title = f"{found.plan.bundle.name}: {row.objective.sense.name.lower()} {row.objective}"
                        title += f", seed {row.seed}, activation {activation:.3g}"
                        picture = await self._renderer.picture(found.profile, spectrogram, title)
            except TimeoutError:
                cut_short = True
        return Explanation(
            row_index=index,
            row=row,
            activation=activation,
            best_step=int(outcome.best_steps[index]),
            diverged_step=outcome.diverged_steps[index],
            latent=outcome.latents[index],
            spectrogram=spectrogram,
            layer_activations=found.layer_activations[row.objective.layer][index],
            audio=audio,
            picture_png=picture,
            trajectory=outcome.trajectories[index] if Artefact.TRAJECTORY in found.artefacts else None,
            cut_short=cut_short,
        )


def _about(plan: Plan) -> dict[str, tracing.Value]:
    """What a trace says of a search."""
    return {
        "earwitness.model": plan.bundle.name,
        "earwitness.layers": ",".join(layer.name for layer in plan.layers),
        "earwitness.rows": len(plan.rows),
        "earwitness.steps": plan.step_count,
    }


def _profile(bundle: BundleMetadata, artefacts: frozenset[Artefact]) -> FeatureProfile | None:
    """What renders `artefacts`; None where there is nothing to render. Raises: UnknownFeatures."""
    if not artefacts & {Artefact.AUDIO, Artefact.PICTURE}:
        return None
    try:
        profile = profile_from_dict(bundle.features)
        if profile.excerpt_shape != bundle.spectrogram_shape:
            raise ValueError(f"their excerpts are {profile.excerpt_shape}, the model's {bundle.spectrogram_shape}")
        return profile
    except ValueError as err:
        raise UnknownFeatures(
            f"models/{bundle.name} has features that cannot be rendered: {err}; ask for no audio and no picture"
        ) from err


def _check_size(plan: Plan, artefacts: frozenset[Artefact], profile: FeatureProfile | None, max_bytes: int) -> None:
    size = plan.response_bytes(artefacts, math.inf if profile is None else profile.frames_per_second)
    if size > max_bytes:
        wanted = ", ".join(sorted(artefact.name.lower() for artefact in artefacts)) or "no artefacts"
        raise InvalidArgument(
            "search.rows",
            f"{len(plan.rows)} explanations with {wanted} take about {size} bytes, one response at most {max_bytes}; "
            "use StreamExplain, fewer rows or fewer artefacts",
        )
