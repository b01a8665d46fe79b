"""The use case on the real in-process backend, where a server would only be in the way."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from earwitness.errors import FailedPrecondition
from earwitness.explainer.errors import ModelNotFound, NonFiniteModel, UnknownFeatures
from earwitness.explainer.explainer import Explainer
from earwitness.explainer.metrics import ExplainerMetrics
from earwitness.explainer.plan import Artefact
from earwitness.explainer.room import Room
from earwitness.explainer.search import Budget
from earwitness.explainer.settings import ExplainerSettings
from earwitness.explainer.state import StoppedBy
from earwitness.features import Audio, FeatureProfile
from earwitness.inference.backend import FloatArray, InferenceBackend
from earwitness.inference.local import LocalBackend
from earwitness.inference.metadata import BundleMetadata
from earwitness.rpc.context import RETURN_MARGIN_S
from earwitness.vocabulary.objective import Objective
from earwitness.vocabulary.search import Row, Search, Settings
from tests.helpers.tiny_bundle import TinyBundle, write_tiny_bundle

SEARCH = Search("tiny", tuple(Row(seed) for seed in range(5)), Objective("fc3", 0, "maximise"), Settings(steps=10))
NOTHING: frozenset[Artefact] = frozenset()


class Altered:
    """The real backend, whose bundles and answers pass through functions; `calls` are the models asked."""

    def __init__(self, inner: InferenceBackend) -> None:
        self.inner = inner
        self.bundle: Callable[[BundleMetadata], BundleMetadata] = lambda bundle: bundle
        self.answer: Callable[[str, FloatArray], FloatArray] = lambda output, array: array
        self.calls: list[str] = []
        self.description = inner.description

    @property
    def generation(self) -> int:
        return self.inner.generation

    async def bundles(self) -> Sequence[BundleMetadata]:
        return [self.bundle(each) for each in await self.inner.bundles()]

    async def left_out(self) -> Mapping[str, str]:
        return await self.inner.left_out()

    async def infer(
        self,
        served_name: str,
        inputs: Mapping[str, FloatArray],
        outputs: Sequence[str],
        *,
        weights_sha256: str | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, FloatArray]:
        self.calls.append(served_name)
        # Without the weights: those of an altered bundle are not the inner one's.
        found = await self.inner.infer(served_name, inputs, outputs, timeout_s=timeout_s)
        return {name: self.answer(name, array) for name, array in found.items()}

    async def ready(self) -> bool:
        return await self.inner.ready()

    async def close(self) -> None:
        await self.inner.close()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyBundle:
    return write_tiny_bundle(tmp_path_factory.mktemp("models"))


@asynccontextmanager
async def opened(tiny: TinyBundle) -> AsyncIterator[tuple[Explainer, Altered]]:
    backend = Altered(LocalBackend(tiny.repository, threads=1))
    explainer = Explainer(backend, ExplainerSettings(), ExplainerMetrics(CollectorRegistry()))
    try:
        yield explainer, backend
    finally:
        await explainer.close()
        await backend.close()


async def test_features_that_cannot_be_rendered_are_refused_before_work(tiny: TinyBundle) -> None:
    async with opened(tiny) as (explainer, backend):
        backend.bundle = lambda bundle: replace(bundle, features={"kind": "cochleagram"})
        for artefact in (Artefact.AUDIO, Artefact.PICTURE):
            with pytest.raises(UnknownFeatures, match=r"'cochleagram'.*ask for no audio and no picture"):
                await explainer.search(SEARCH, frozenset({artefact}))
        assert not backend.calls
        found = await explainer.search(SEARCH, frozenset({Artefact.TRAJECTORY}))
        explanations = [each async for each in explainer.explanations(found)]
        assert [len(each.trajectory.activations) for each in explanations if each.trajectory] == [11] * 5


@pytest.mark.parametrize("output", ["spectrogram", "fc3"])
async def test_what_the_generator_or_classifier_spoils_is_never_returned(tiny: TinyBundle, output: str) -> None:
    async with opened(tiny) as (explainer, backend):
        backend.answer = lambda name, array: array * np.float32(np.nan) if name == output else array
        with pytest.raises(NonFiniteModel, match="export it again"):
            await explainer.search(SEARCH, NOTHING)


async def test_a_model_is_probed_by_its_weights(tiny: TinyBundle) -> None:
    async with opened(tiny) as (explainer, backend):
        steps = []
        for weights in ("a", "a", "b"):
            backend.bundle = lambda bundle, weights=weights: replace(bundle, weights_sha256=weights)
            backend.calls.clear()
            await explainer.search(SEARCH, NOTHING)
            steps.append(backend.calls.count("tiny_search"))
        assert steps == [13, 11, 13]


@pytest.mark.parametrize("digests", [True, False])
@pytest.mark.parametrize("role", ["generator", "classifier", "search"])
async def test_a_model_of_other_weights_is_refused(tmp_path: Path, role: str, digests: bool) -> None:
    """By its digest; where it has none, because two of its models contradict each other."""
    mixed, other = (write_tiny_bundle(tmp_path / str(seed), seed=seed, digests=digests) for seed in (0, 7))
    (mixed.repository / f"tiny_{role}/1/model.onnx").write_bytes(
        (other.repository / f"tiny_{role}/1/model.onnx").read_bytes()
    )
    async with opened(mixed) as (explainer, _):
        with pytest.raises(FailedPrecondition) as caught:
            await explainer.search(SEARCH, NOTHING)
        assert dict(await explainer.unusable_models()).keys() == ({"tiny"} if digests else set())
    if digests:
        assert (caught.value.reason, role in caught.value.message) == ("MODEL_UNUSABLE", True)
    else:
        assert caught.value.reason == "INCONSISTENT_MODEL"
        assert "by tiny_search are" in caught.value.message
        assert "by tiny_classifier, over what tiny_generator makes" in caught.value.message


async def test_one_generator_and_one_classifier_call_serve_all_rows(tiny: TinyBundle) -> None:
    rows = (Row(0), Row(1, Objective("conv1", 1, "minimise")), Row(2, Objective("fc2", 4, "maximise")))
    async with opened(tiny) as (explainer, backend):
        await explainer.search(replace(SEARCH, rows=rows), NOTHING)  # probes the layers, too
        backend.calls.clear()
        found = await explainer.search(replace(SEARCH, rows=rows), NOTHING)
        assert backend.calls[-2:] == ["tiny_generator", "tiny_classifier"]
        assert backend.calls.count("tiny_classifier") == 1
        sizes = [len(each.layer_activations) async for each in explainer.explanations(found)]
        assert sizes == [2, 3, 5]


async def test_an_unknown_model_lists_the_known(tiny: TinyBundle) -> None:
    async with opened(tiny) as (explainer, _):
        with pytest.raises(ModelNotFound, match="models/nope does not exist; served models: models/tiny"):
            await explainer.search(replace(SEARCH, model="nope"), NOTHING)
        assert [bundle.name for bundle in await explainer.models()] == ["tiny"]


async def test_time_for_rendering_is_kept(tiny: TinyBundle) -> None:
    long = replace(SEARCH, settings=Settings(steps=10_000))
    async with opened(tiny) as (explainer, _):
        loop = asyncio.get_running_loop()
        await explainer.search(SEARCH, NOTHING)
        begun = loop.time()
        found = await explainer.search(long, frozenset({Artefact.AUDIO}), time_left_s=1.2)
        # Nothing was rendered before, so half of the time is kept.
        assert found.outcome.stopped_by is StoppedBy.DEADLINE
        assert found.outcome.duration_s < 0.7
        assert loop.time() - begun < 1.2


async def test_rows_that_there_is_no_time_to_render_come_without_sound(
    tiny: TinyBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earwitness.explainer.render.render_audio", slowly)
    async with opened(tiny) as (explainer, _):
        loop = asyncio.get_running_loop()
        await explainer.search(SEARCH, NOTHING)
        begun = loop.time()
        found = await explainer.search(SEARCH, frozenset({Artefact.AUDIO}), time_left_s=1.6)
        explanations = [each async for each in explainer.explanations(found)]
        assert loop.time() - begun < 1.6
    assert found.outcome.stopped_by is StoppedBy.COMPLETED
    assert [each.row_index for each in explanations] == [0, 1, 2, 3, 4]
    made = [each.audio is not None for each in explanations]
    assert made == sorted(made, reverse=True)
    assert sum(made) <= 2, "two threads make one each"
    assert [each.cut_short for each in explanations] == [not each for each in made]


@pytest.mark.parametrize("whole", [True, False])
async def test_nothing_is_begun_to_be_rendered_once_the_time_is_up(
    tiny: TinyBundle, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    """Jobs that nobody waits for held up the rows that were only to be sent."""
    begun: list[str] = []

    def made(*of: object) -> Audio:
        begun.append("a sound")
        return Audio(b"RIFF", 1.0)

    monkeypatch.setattr("earwitness.explainer.render.render_audio", made)
    asked = frozenset({Artefact.AUDIO, Artefact.TRAJECTORY})
    async with opened(tiny) as (explainer, _):
        found = await explainer.search(SEARCH, asked, room=Room.of(0, 2**26, whole=whole))
        for left_s, sounds in ((None, 5), (RETURN_MARGIN_S, 0), (-1.0, 0)):
            budget = Budget() if left_s is None else Budget(time.monotonic() + left_s)
            explanations = [each async for each in explainer.explanations(replace(found, budget=budget))]
            assert [each.audio is not None for each in explanations] == [bool(sounds)] * 5
            assert [each.cut_short for each in explanations] == [not sounds] * 5
            assert [each.left_out for each in explanations] == [frozenset() if sounds else {Artefact.AUDIO}] * 5
            assert all(each.trajectory is not None for each in explanations)
            assert len(begun) == sounds
            begun.clear()


def slowly(profile: FeatureProfile, spectrogram: FloatArray) -> Audio:
    time.sleep(0.9)
    return Audio(b"RIFF", 1.0)


async def test_an_abandoned_rendering_leaves_nothing_running(tiny: TinyBundle) -> None:
    async with opened(tiny) as (explainer, _):
        found = await explainer.search(SEARCH, frozenset({Artefact.PICTURE}))
        explanations = explainer.explanations(found)
        first = await anext(explanations)
        assert first.picture_png is not None
        await explanations.aclose()
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}


class Slow(Altered):
    """Takes `seconds` for each model, by role, and gives up at the caller's limit."""

    seconds: Mapping[str, float] = {"search": 0.08, "generator": 0.03, "classifier": 0.03}

    async def infer(
        self,
        served_name: str,
        inputs: Mapping[str, FloatArray],
        outputs: Sequence[str],
        *,
        weights_sha256: str | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, FloatArray]:
        async with asyncio.timeout(timeout_s):
            await asyncio.sleep(self.seconds[served_name.rpartition("_")[2]])
        return await super().infer(served_name, inputs, outputs, weights_sha256=weights_sha256)


@pytest.mark.parametrize("time_left_s", [3.0, 3.02, 3.04, 3.06])
async def test_the_passes_after_the_search_have_their_time(tiny: TinyBundle, time_left_s: float) -> None:
    """Wherever in a step the deadline falls, the best so far comes back."""
    backend = Slow(LocalBackend(tiny.repository, threads=1))
    explainer = Explainer(backend, ExplainerSettings(backend="local"), ExplainerMetrics(CollectorRegistry()))
    request = replace(SEARCH, settings=Settings(steps=1000))
    await explainer.search(replace(request, settings=Settings(steps=1)), NOTHING, time_left_s=None)  # loads the models
    found = await explainer.search(request, NOTHING, time_left_s=time_left_s)
    assert found.outcome.stopped_by is StoppedBy.DEADLINE
    assert found.outcome.row_step_count > 0
    assert np.isfinite(found.spectrograms).all()
    await explainer.close()
    await backend.close()
