"""What the explainer does: plan a search, run it, and make explanations of what it found."""

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

from earwitness import tracing
from earwitness.explainer.admission import Admission
from earwitness.explainer.errors import ModelNotFound, UnknownFeatures
from earwitness.explainer.metrics import ExplainerMetrics
from earwitness.explainer.pacing import Pacing
from earwitness.explainer.plan import (
    ITERATE_BYTES,
    Artefact,
    Limits,
    Plan,
    PlannedRow,
    RowBytes,
    Search,
    check_limits,
    plan_search,
)
from earwitness.explainer.probe import GradientProbe
from earwitness.explainer.render import Renderer
from earwitness.explainer.room import STOCK_BYTES, Filling, Room
from earwitness.explainer.search import Budget, Progress, search
from earwitness.explainer.served import ServedBundle
from earwitness.explainer.settings import ExplainerSettings
from earwitness.explainer.state import Outcome, Trajectory
from earwitness.features import Audio, FeatureProfile, profile_from_dict
from earwitness.inference.backend import FloatArray, InferenceBackend, ModelUnusable
from earwitness.inference.metadata import BundleMetadata

UNSTATED = Room(STOCK_BYTES, STOCK_BYTES, whole=False)


@dataclass(frozen=True, eq=False)
class Found:
    """A search that is over: `spectrograms` [B, bands, frames] of the best latents and, by the name of each layer that
    some objective has, `layer_activations` [B, units]; `budget` is the time until the answer is to be there, `room`
    what it may take and `row_bytes` what each row does."""

    plan: Plan
    outcome: Outcome
    spectrograms: FloatArray
    layer_activations: dict[str, FloatArray]
    artefacts: frozenset[Artefact]
    profile: FeatureProfile | None
    backend: str
    budget: Budget
    room: Room
    row_bytes: list[RowBytes]


@dataclass(frozen=True, eq=False)
class Explanation:
    """The best iterate of one row; `latent` [Z], `spectrogram` [bands, frames], `layer_activations` [units].

    `cut_short` where the time did not suffice for the sound or the picture that was asked for; `left_out` is all that
    was asked for and is not here, for want of time or of room.
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
    left_out: frozenset[Artefact]


@dataclass(frozen=True, eq=False)
class _Rendered:
    """What was made of one row; `cut_short` where the time did not suffice for all of it."""

    audio: Audio | None
    picture_png: bytes | None
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
        self._pacing = Pacing()
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
        room: Room = UNSTATED,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> Found:
        """Check the whole request, then search until `time_left_s` is nearly over; cancelling stops it within one step.

        `room` is what the answer may take. `on_progress` is told each step.

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
        row_bytes = _row_bytes(plan, artefacts, profile)
        room.require(row_bytes, artefacts)
        served = self.serve(bundle)
        async with self._admission.slot():
            self._metrics.rows_in_flight.inc(len(plan.rows))
            try:
                with tracing.span("search", _about(plan)) as span:
                    await self.check_gradients(plan, served)
                    budget, first = self._budgets(end_s, plan, artefacts, row_bytes, room)
                    outcome = await self._run(plan, served, budget, first, on_progress)
                    span.tell({"earwitness.stopped_by": outcome.stopped_by.value})
                    found = await self._found(plan, outcome, artefacts, profile, served, Budget(end_s), room)
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
        room: Room,
    ) -> Found:
        layers, begun = [layer.name for layer in plan.layers], time.monotonic()
        spectrograms, activations = await served.forward(outcome.latents, layers, budget)
        self._pacing.passed(plan.bundle.name, len(plan.rows), time.monotonic() - begun)
        row_bytes, backend = _row_bytes(plan, artefacts, profile), self._backend.description
        return Found(
            plan, outcome, spectrograms, activations, artefacts, profile, backend, budget, room, row_bytes
        )  # fmt: skip

    async def explanations(self, found: Found) -> AsyncGenerator[Explanation]:
        """The explanation of each row, in the order of the rows; a few are rendered ahead.

        Once the time is over, or the room taken, rows come without sound and picture: what was searched is not lost.
        """
        filling = Filling(found.room, found.row_bytes)
        ahead: deque[asyncio.Future[_Rendered]] = deque()
        count, whole = len(found.plan.rows), found.room.whole
        byte_counts = list(accumulate(reversed(_sure_bytes(found))))
        try:
            for index in range(count):
                while len(ahead) <= self._renderer.threads and (next_one := index + len(ahead)) < count:
                    # What travels together is sent together, at the end.
                    to_send = byte_counts[-1] + filling.rendered_bytes if whole else byte_counts[count - next_one - 1]
                    loading = self._renderer.loads(found.artefacts)
                    handing_over_s = self._pacing.handing_over_s(
                        count - next_one, to_send, whole=whole, loading=loading
                    )
                    budget = Budget(found.budget.end_s - handing_over_s)
                    ahead.append(self._rendering(found, next_one, budget, found.artefacts - filling.closed))
                explanation = _explanation(found, index, await ahead.popleft(), filling)
                begun = time.monotonic()
                yield explanation
                self._pacing.handed_over(time.monotonic() - begun, whole=whole)
        finally:
            for each in ahead:
                each.cancel()

    async def close(self) -> None:
        """Release the rendering threads; the backend is its owner's."""
        self._renderer.close()

    def _budgets(
        self, end_s: float, plan: Plan, artefacts: frozenset[Artefact], row_bytes: list[RowBytes], room: Room
    ) -> tuple[Budget, Budget]:
        """The search's share of the time until `end_s`, and its first step's."""
        count, byte_count = len(plan.rows), sum(row.tensors for row in row_bytes)
        if Artefact.TRAJECTORY in artefacts:
            byte_count += sum(row.artefacts[Artefact.TRAJECTORY] for row in row_bytes)
        rendering_s = self._renderer.expected_s(artefacts, count)
        return self._pacing.search_budgets(
            end_s,
            plan.bundle.name,
            count,
            byte_count,
            rendering_s,
            whole=room.whole,
            loading=self._renderer.loads(artefacts),
        )  # fmt: skip

    async def _run(
        self, plan: Plan, served: ServedBundle, budget: Budget, first: Budget, on_progress: Callable[[Progress], None]
    ) -> Outcome:
        outcome: Outcome | None = None
        async for event in search(plan, served.evaluate, budget, first=first):
            if isinstance(event, Outcome):
                outcome = event
            else:
                self._metrics.step(plan.bundle.name, event)
                on_progress(event)
        assert outcome is not None  # the last event of every search
        return outcome

    def _rendering(
        self, found: Found, index: int, budget: Budget, artefacts: Set[Artefact]
    ) -> "asyncio.Future[_Rendered]":
        """Sound and picture of a row that are among `artefacts`, within `budget`; without them, nothing is begun."""
        wanted = [each for each in (Artefact.AUDIO, Artefact.PICTURE) if each in artefacts]
        if found.profile is not None and wanted and self._worth_beginning(wanted[0], budget):
            return asyncio.create_task(self._rendered(found, index, budget, wanted, found.profile))
        nothing = asyncio.get_running_loop().create_future()
        nothing.set_result(_Rendered(None, None, cut_short=bool(wanted)))
        return nothing

    def _worth_beginning(self, artefact: Artefact, budget: Budget) -> bool:
        left_s = budget.left_s()
        return left_s is None or self._renderer.worth_beginning(artefact, left_s)

    async def _rendered(
        self, found: Found, index: int, budget: Budget, wanted: Sequence[Artefact], profile: FeatureProfile
    ) -> _Rendered:
        row, spectrogram = found.plan.rows[index], found.spectrograms[index]
        audio, picture = None, None
        for artefact in wanted:
            if not self._worth_beginning(artefact, budget):
                return _Rendered(audio, picture, cut_short=True)
            try:
                async with asyncio.timeout(budget.left_s()):
                    if artefact is Artefact.AUDIO:
                        audio = await self._renderer.audio(profile, spectrogram)
                    else:
                        title = f"{found.plan.bundle.name}: {row.objective.sense.name.lower()} {row.objective}, "
                        title += f"seed {row.seed}, activation {float(found.outcome.activations[index]):.3g}"
                        picture = await self._renderer.picture(profile, spectrogram, title)
            except TimeoutError:
                return _Rendered(audio, picture, cut_short=True)
        return _Rendered(audio, picture, cut_short=False)


def _explanation(found: Found, index: int, made: _Rendered, filling: Filling) -> Explanation:
    """A row's explanation with what was made of it, as far as there is room."""
    row, outcome = found.plan.rows[index], found.outcome
    trajectory = outcome.trajectories[index] if Artefact.TRAJECTORY in found.artefacts else None
    audio, picture = made.audio, made.picture_png
    filling.begin(index)
    if trajectory is not None and not filling.take(
        Artefact.TRAJECTORY, ITERATE_BYTES * len(trajectory.activations)
    ):  # fmt: skip
        trajectory = None
    if audio is not None and not filling.take(Artefact.AUDIO, len(audio.wav)):
        audio = None
    if picture is not None and not filling.take(Artefact.PICTURE, len(picture)):
        picture = None
    held = {Artefact.TRAJECTORY: trajectory, Artefact.AUDIO: audio, Artefact.PICTURE: picture}
    return Explanation(
        row_index=index,
        row=row,
        activation=float(outcome.activations[index]),
        best_step=int(outcome.best_steps[index]),
        diverged_step=outcome.diverged_steps[index],
        latent=outcome.latents[index],
        spectrogram=found.spectrograms[index],
        layer_activations=found.layer_activations[row.objective.layer][index],
        audio=audio,
        picture_png=picture,
        trajectory=trajectory,
        cut_short=made.cut_short,
        left_out=frozenset(each for each in found.artefacts if held[each] is None),
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


def _sure_bytes(found: Found) -> list[int]:
    """What each row's explanation takes before anything is rendered."""
    tensors = [row.tensors for row in found.row_bytes]
    if Artefact.TRAJECTORY not in found.artefacts:
        return tensors
    curves = [ITERATE_BYTES * len(each.activations) for each in found.outcome.trajectories]
    return [sum(each) for each in zip(tensors, curves, strict=True)]


def _row_bytes(plan: Plan, artefacts: frozenset[Artefact], profile: FeatureProfile | None) -> list[RowBytes]:
    return plan.row_bytes(artefacts, math.inf if profile is None else profile.frames_per_second)
