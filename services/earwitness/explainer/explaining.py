"""What was found becomes explanations: rendered while there is time, within what the answer may take."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Sequence, Set
from dataclasses import dataclass
from itertools import accumulate

from earwitness.explainer.objective import words
from earwitness.explainer.pacing import Pacing
from earwitness.explainer.plan import ITERATE_BYTES, Artefact, Plan, PlannedRow, RowBytes
from earwitness.explainer.render import Renderer
from earwitness.explainer.room import Filling, Room
from earwitness.explainer.search import Budget
from earwitness.explainer.state import Outcome
from earwitness.features import Audio, FeatureProfile
from earwitness.inference.backend import FloatArray
from earwitness.vocabulary.search import Trajectory


@dataclass(frozen=True, eq=False)
class Found:
    """A search that is over: `spectrograms` [B, bands, frames] of the best latents and, by the name of each layer that
    some objective has, `layer_activations` [B, units]; `budget` is the time until the answer is to be there, `room`
    what it may take and `row_bytes` what each row does. Where rows were chosen, these B are some of the
    `searched_count`: `row_indices` [B] say which, `nearness` [B] by what places."""

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
    row_indices: tuple[int, ...] = ()
    nearness: tuple[float, ...] = ()
    searched_count: int = 0


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
    nearness: float | None = None
    """Its mean place by nearness, where rows were chosen by it."""

    @property
    def reached_target(self) -> bool:
        """Whether it had a target and got there."""
        return self.row.reached_by(self.activation)


@dataclass(frozen=True, eq=False)
class _Rendered:
    """What was made of one row; `cut_short` where the time did not suffice for all of it."""

    audio: Audio | None
    picture_png: bytes | None
    cut_short: bool


class Explaining:
    """Makes explanations with one `Renderer`, and learns how long handing them over takes."""

    def __init__(self, renderer: Renderer, pacing: Pacing) -> None:
        self._renderer = renderer
        self._pacing = pacing

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
                    budget = self._rendering_budget(found, count - next_one, to_send)
                    ahead.append(self._rendering(found, next_one, budget, found.artefacts - filling.closed))
                explanation = _explanation(found, index, await ahead.popleft(), filling)
                begun = time.monotonic()
                yield explanation
                self._pacing.handed_over(time.monotonic() - begun, whole=whole)
        finally:
            for each in ahead:
                each.cancel()

    def _rendering_budget(self, found: Found, rows: int, byte_count: int) -> Budget:
        """The time to render one of so many `rows` that are to be handed over yet, of so many bytes."""
        left_s = found.budget.left_s()
        if left_s is None:
            return found.budget
        loading = self._renderer.loads(found.artefacts)
        kept_s = self._pacing.handing_over_s(left_s, rows, byte_count, whole=found.room.whole, loading=loading)
        return Budget(found.budget.end_s - kept_s - self._pacing.stopping_s())

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
                        title = f"{found.plan.bundle.name}: {row.objective.sense} {words(row.objective)}, "
                        title += f"seed {row.seed}, activation {float(found.outcome.activations[index]):.3g}"
                        picture = await self._renderer.picture(profile, spectrogram, title)
            except TimeoutError:
                self._pacing.stopped(time.monotonic() - budget.end_s)
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
        row_index=found.row_indices[index] if found.row_indices else index,
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
        nearness=found.nearness[index] if found.nearness else None,
    )


def _sure_bytes(found: Found) -> list[int]:
    """What each row's explanation takes before anything is rendered."""
    tensors = [row.tensors for row in found.row_bytes]
    if Artefact.TRAJECTORY not in found.artefacts:
        return tensors
    curves = [ITERATE_BYTES * len(each.activations) for each in found.outcome.trajectories]
    return [sum(each) for each in zip(tensors, curves, strict=True)]
