"""What the explainer does: plan a search, run it, and make explanations of what it found."""

import math
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from earwitness import tracing
from earwitness.explainer.admission import Admission
from earwitness.explainer.errors import ModelNotFound, UnknownFeatures
from earwitness.explainer.explaining import Explaining, Explanation, Found
from earwitness.explainer.metrics import ExplainerMetrics
from earwitness.explainer.pacing import USABLE, Pacing
from earwitness.explainer.plan import (
    Artefact,
    Limits,
    Plan,
    RowBytes,
    by_objective,
    check_limits,
    plan_search,
)
from earwitness.explainer.probe import GradientProbe
from earwitness.explainer.real import Kept, RealAudio
from earwitness.explainer.reference import Reference
from earwitness.explainer.render import Renderer
from earwitness.explainer.room import STOCK_BYTES, Room
from earwitness.explainer.scorer_client import ScorerClient
from earwitness.explainer.search import DRAWS_AT_ONCE, Budget, Progress, search
from earwitness.explainer.searching import Searching, take
from earwitness.explainer.served import ServedBundle
from earwitness.explainer.settings import ExplainerSettings
from earwitness.explainer.state import Outcome
from earwitness.features import FeatureProfile, profile_from_dict
from earwitness.features.parameters import FeatureError
from earwitness.inference.backend import InferenceBackend, ModelUnusable
from earwitness.inference.metadata import BundleMetadata
from earwitness.vocabulary.objective import Objective
from earwitness.vocabulary.search import Search

UNSTATED = Room(STOCK_BYTES, STOCK_BYTES, whole=False)
LOOK_S = 2.0
"""Seconds for which a look at a model serves the search that follows it."""


@dataclass(frozen=True)
class Look:
    """A bundle as the inference server described it at a time, over one of its connections."""

    begun_s: float
    generation: int
    bundle: BundleMetadata


class Explainer:
    """Explains the bundles of one backend, within limits."""

    def __init__(
        self,
        backend: InferenceBackend,
        settings: ExplainerSettings,
        metrics: ExplainerMetrics,
        scorer: ScorerClient | None = None,
    ) -> None:
        """`scorer` is asked about references; without one, a search that names any is refused."""
        self._backend = backend
        self._settings = settings
        self._limits = Limits(settings.max_rows, settings.max_steps, settings.max_draws)
        self._admission = Admission(settings.max_concurrent_searches, settings.max_waiting_searches)
        self._probe = GradientProbe()
        self._renderer = Renderer(settings.render_threads)
        self._pacing = Pacing()
        self._explaining = Explaining(self._renderer, self._pacing)
        self._real = RealAudio(scorer)
        self._looks: dict[str, Look] = {}
        """Those that no search has used, by model: as many as there are models."""
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
        begun_s, generation = time.monotonic(), self._backend.generation
        bundle = await self._find(name)
        self._looks[name] = Look(begun_s, generation, bundle)
        return bundle

    async def _looked_at(self, name: str) -> BundleMetadata:
        """As `model`, which callers who ask what to search have asked just before: that look serves one search.

        What runs says by its weights if it was exchanged meanwhile, and the next search looks again.
        """
        look = self._looks.pop(name, None)
        if look is None or look.generation != self._backend.generation or time.monotonic() - look.begun_s > LOOK_S:
            return await self._find(name)
        return look.bundle

    async def _find(self, name: str) -> BundleMetadata:
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
        room: Room = UNSTATED,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> Found:
        """Check the whole request, then search until `time_left_s` is nearly over; cancelling stops it within one step.

        `room` is what the answer may take. `on_progress` receives every step.

        Raises: InvalidArgument, ModelNotFound, ModelUnusable, UnknownFeatures, ReferenceUnusable, ScorerUnavailable
        before any work; TooManySearches; ScorerUnavailable also when the rows to keep cannot be chosen; ZeroGradient,
        FrozenGradient, WrongGradient, InconsistentModel, NonFiniteModel; NothingSearchedYet, TimeoutError;
        InferenceUnavailable, InferenceFailed; ModelExchanged when other weights are served since the search was
        planned.
        """
        end_s = math.inf if time_left_s is None else time.monotonic() + USABLE * time_left_s
        check_limits(request, self._limits)
        bundle = await self._looked_at(request.model)
        plan = plan_search(request, bundle, self._limits)
        profile = _profile(bundle, artefacts)
        row_bytes = _most_kept(plan, _row_bytes(plan, artefacts, profile), request.keep_count)
        room.require(row_bytes, artefacts)
        references = await self._real.find(request, plan)
        plan = await self._real.aim(plan, references)
        served = self.serve(bundle)
        async with self._admission.slot():
            self._metrics.rows_in_flight.inc(len(plan.rows))
            try:
                with tracing.span("search", _about(plan)) as span:
                    await self.check_gradients(plan, served)
                    budget, first = self._budgets(end_s, plan, artefacts, row_bytes, room, bool(request.keep_count))
                    plan, outcome = await self._run(plan, served, budget, first, on_progress)
                    span.tell({"earwitness.stopped_by": outcome.stopped_by.value})
                    layers = _layers(plan, references if request.keep_count else {})
                    found = await self._found(plan, outcome, artefacts, profile, served, Budget(end_s), room, layers)
                    if request.keep_count:
                        kept = await self._real.nearest(
                            plan, references, found.layer_activations, request, Budget(end_s)
                        )
                        found = _only(found, kept)
                self._count_explanations(found)
                return found
            finally:
                self._metrics.rows_in_flight.dec(len(plan.rows))

    async def find_again(
        self, plan: Plan, outcome: Outcome, artefacts: frozenset[Artefact], room: Room = UNSTATED
    ) -> Found:
        """What was found by a search of long ago, whose `outcome` was kept: one pass through the networks.

        Raises: InvalidArgument where it is larger than `room`; UnknownFeatures; TooManySearches; NonFiniteModel;
        InferenceUnavailable, InferenceFailed.
        """
        profile = _profile(plan.bundle, artefacts)
        room.require(_row_bytes(plan, artefacts, profile), artefacts)
        async with self._admission.slot():
            return await self._found(plan, outcome, artefacts, profile, self.serve(plan.bundle), Budget(), room)

    async def check_gradients(self, plan: Plan, served: ServedBundle) -> None:
        """Raises: ZeroGradient, FrozenGradient, WrongGradient, InconsistentModel, NonFiniteModel when layers are unfit
        whose gradient some row of the plan needs."""
        climbing = (index for index, row in enumerate(plan.rows) if row.settings.needs_gradient)
        await self._probe.check(
            plan.bundle, plan.layers_of(climbing), served.evaluate, served.classify, generation=self._backend.generation
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
        room: Room,
        layers: Sequence[str] = (),
    ) -> Found:
        """What the networks make of an outcome; with the activations of `layers`, by default those of objectives."""
        begun = time.monotonic()
        spectrograms, activations = await served.forward(outcome.latents, layers or _layers(plan, {}), budget)
        self._pacing.passed(plan.bundle.name, len(plan.rows), time.monotonic() - begun)
        row_bytes, backend = _row_bytes(plan, artefacts, profile), self._backend.description
        return Found(
            plan, outcome, spectrograms, activations, artefacts, profile, backend, budget, room, row_bytes
        )  # fmt: skip

    def explanations(self, found: Found) -> AsyncGenerator[Explanation]:
        """As `Explaining.explanations`."""
        return self._explaining.explanations(found)

    async def close(self) -> None:
        """Release the rendering threads; the backend is its owner's."""
        self._renderer.close()

    def _budgets(
        self,
        end_s: float,
        plan: Plan,
        artefacts: frozenset[Artefact],
        row_bytes: list[RowBytes],
        room: Room,
        choosing: bool,
    ) -> tuple[Budget, Budget]:
        """The search's share of the time until `end_s`, and its first step's; `row_bytes` are of the rows that come
        back."""
        count, byte_count = len(row_bytes), sum(row.tensors for row in row_bytes)
        if Artefact.TRAJECTORY in artefacts:
            byte_count += sum(row.artefacts[Artefact.TRAJECTORY] for row in row_bytes)
        rendering_s = self._renderer.expected_s(artefacts, count)
        if choosing:
            rendering_s += self._real.expected_s
        return self._pacing.search_budgets(
            end_s,
            plan.bundle.name,
            count,
            byte_count,
            rendering_s,
            searched=len(plan.rows),
            whole=room.whole,
            loading=self._renderer.loads(artefacts),
        )  # fmt: skip

    async def _run(
        self, plan: Plan, served: ServedBundle, budget: Budget, first: Budget, on_progress: Callable[[Progress], None]
    ) -> tuple[Plan, Outcome]:
        """As `Searching.run`."""
        name = plan.bundle.name
        return await Searching(plan, on_progress).run(
            lambda moving: search(moving, served.evaluate, served.activate, budget, first=first),
            served.activate,
            min(DRAWS_AT_ONCE, self._settings.max_batch),
            budget,
            first,
            on_step=partial(self._metrics.step, name),
            on_draws=partial(self._metrics.drawn, name),
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
            raise FeatureError(f"their excerpts are {profile.excerpt_shape}, the model's {bundle.spectrogram_shape}")
        return profile
    except FeatureError as err:
        raise UnknownFeatures(
            f"models/{bundle.name} has features that cannot be rendered: {err}; ask for no audio and no picture"
        ) from err


def _row_bytes(plan: Plan, artefacts: frozenset[Artefact], profile: FeatureProfile | None) -> list[RowBytes]:
    return plan.row_bytes(artefacts, math.inf if profile is None else profile.frames_per_second)


def _layers(plan: Plan, references: Mapping[Objective, Reference]) -> list[str]:
    """The layers of the objectives and those that the references keep, in the bundle's order."""
    named = {layer.name for layer in plan.layers}
    named |= {layer.name for reference in references.values() for layer in reference.layers}
    return [layer.name for layer in plan.bundle.layers if layer.name in named]


def _most_kept(plan: Plan, row_bytes: list[RowBytes], keep_count: int) -> list[RowBytes]:
    """What comes back at most, whichever rows are kept."""
    if not keep_count:
        return row_bytes
    kept: list[RowBytes] = []
    for rows in by_objective(plan.rows).values():
        kept += sorted((row_bytes[row] for row in rows), key=lambda row: row.most, reverse=True)[:keep_count]
    return kept


def _only(found: Found, kept: Kept) -> Found:
    """What was found of the rows that are kept."""
    rows = list(kept.rows)
    return replace(
        found,
        plan=take(found.plan, rows),
        outcome=take(found.outcome, rows),
        spectrograms=found.spectrograms[rows],
        layer_activations={name: array[rows] for name, array in found.layer_activations.items()},
        row_bytes=[found.row_bytes[row] for row in rows],
        row_indices=kept.rows,
        nearness=kept.places,
        searched_count=len(found.plan.rows),
    )
