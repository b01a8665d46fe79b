"""The bundles in model_repository/, explained over gRPC on a real Triton."""

import io
import re
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from earwitness.cli.stack import Ports, Stack, StackSettings
from earwitness.client import (
    ExplainerClient,
    Objective,
    RpcFailure,
    ScorerClient,
    Search,
    SearchResult,
    Selection,
    Settings,
    build_reference,
)
from earwitness.client.references import find_recordings
from earwitness.inference.local import LocalBackend
from earwitness.inference.metadata import BundleMetadata, complete_bundles
from earwitness.inference.repository import read_repository

ROOT = Path(__file__).parents[2]
REPOSITORY = ROOT / "model_repository"
MUSIC = ROOT / "deploy/demo/audio"
SETTINGS = Settings(optimiser="adam", learning_rate=0.01, prior_weight=0.001, steps=40)

pytestmark = pytest.mark.asyncio(loop_scope="module")


SINGING = "conv1 conv2 pool3 conv4 conv5 pool6 fc7 fc8 fc9"
REPLAYED = [("genuine", "spoof"), ("spoof", "genuine")]
SHIPPED = {
    "svd-r1": (SINGING, [("vocal", "non-vocal")]),
    "svd-r2": (SINGING, [("non-vocal", "vocal"), ("vocal", "non-vocal")]),
    "replay-compact": ("conv1 pool2 conv3 pool4 conv5 pool6 fc7 fc8", REPLAYED),
    "replay-bulbul": ("conv1 pool2 conv3 pool4 conv5 pool6 conv7 pool8 fc9 fc10 fc11", REPLAYED),
}
"""Layers of the shipped models, and words for a high and a low activation of each output unit."""


@pytest.fixture(scope="module")
def bundles() -> dict[str, BundleMetadata]:
    served = read_repository(REPOSITORY)
    return {each.name: each for each in complete_bundles({name: model.parameters for name, model in served.items()})}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Triton, scorer and explainer on free ports."""
    settings = StackSettings(REPOSITORY, tmp_path_factory.mktemp("data"), "triton", ports=Ports(0, 0, 0, 0, 0, 0))
    async with Stack(settings) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def explainer(stack: Stack) -> AsyncIterator[ExplainerClient]:
    async with ExplainerClient(stack.endpoints.explainer) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def searched(stack: Stack) -> dict[str, SearchResult]:
    """What svd-r1 finds most and least vocal, with sound and trajectories."""
    async with ExplainerClient(stack.endpoints.explainer) as client:
        return {
            sense: await client.explain(search(sense), artefacts=["audio", "trajectory"])
            for sense in ("maximise", "minimise")
        }


def search(sense: str, rows: int = 4, model: str = "svd-r1", unit: int = 0) -> Search:
    return Search.of(model, Objective("fc9", unit=unit, sense=sense), row_count=rows, settings=SETTINGS)


async def test_cards_and_index_describe_them(bundles: dict[str, BundleMetadata]) -> None:
    assert bundles.keys() == SHIPPED.keys()
    for name, bundle in bundles.items():
        file = f"{name.replace('-', '_')}.md"
        card = (REPOSITORY / file).read_text(encoding="utf-8")
        assert bundle.weights_sha256 in card
        assert (REPOSITORY / re.findall(r"!\[.*\]\((.*)\)", card)[0]).is_file()
        assert f"({file})" in (REPOSITORY / "README.md").read_text(encoding="utf-8")
        layers, words = SHIPPED[name]
        assert " ".join(layer.name for layer in bundle.layers) == layers
        assert [(label.maximise, label.minimise) for label in bundle.labels] == words


async def test_each_unit_of_two_is_moved_by_what_its_word_says(explainer: ExplainerClient) -> None:
    """Sounds that one unit of svd-r2 calls vocal, its other unit and svd-r1 hear as such too."""
    backend = LocalBackend(REPOSITORY, threads=1)
    heard: dict[int, dict[str, np.ndarray]] = {}
    for unit in (0, 1):
        result = await explainer.explain(search("maximise", model="svd-r2", unit=unit))
        spectrograms = np.stack([each.spectrogram for each in result.explanations])
        heard[unit] = {
            model: (await backend.infer(f"{model}_classifier", {"spectrogram": spectrograms}, ["fc9"]))["fc9"]
            for model in ("svd_r1", "svd_r2")
        }
    await backend.close()
    for unit in (0, 1):
        own = heard[unit]["svd_r2"]
        assert (own[:, unit] > own[:, 1 - unit]).all()
    assert np.median(heard[1]["svd_r1"]) > np.median(heard[0]["svd_r1"])


@pytest.mark.parametrize("model", ["replay-compact", "replay-bulbul"])
async def test_replayed_speech_is_explained_by_the_same_services(explainer: ExplainerClient, model: str) -> None:
    """A window of sound at the detector's rate for each output, and the network calls it what it was asked for."""
    logits = {}
    for unit, (word, _) in enumerate(REPLAYED):
        output = Objective(SHIPPED[model][0].split()[-1], unit=unit)
        asked = Search.of(model, output, row_count=2, settings=SETTINGS)
        result = await explainer.explain(asked, artefacts=["audio"])
        logits[word] = result.layer_activations()
        for each in result.explanations:
            assert each.audio_wav is not None
            with wave.open(io.BytesIO(each.audio_wav)) as sound:
                assert sound.getframerate() == 16_000
                assert sound.getnframes() / 16_000 == pytest.approx(1.0, abs=0.1)
    assert (logits["genuine"][:, 0] > logits["genuine"][:, 1]).all()
    assert (logits["spoof"][:, 1] > logits["spoof"][:, 0]).all()


async def test_search_moves_the_unit_both_ways(searched: dict[str, SearchResult]) -> None:
    for sense, sign in (("maximise", 1), ("minimise", -1)):
        assert "triton" in searched[sense].summary.backend
        for each in searched[sense].explanations:
            assert each.trajectory is not None
            assert sign * (each.activation - each.trajectory.activations[0]) > 1.0
            assert each.audio_wav is not None
            assert each.audio_wav.startswith(b"RIFF")
            assert np.isfinite(each.spectrogram).all()
    assert searched["maximise"].activations().min() > searched["minimise"].activations().max()


async def test_same_request_same_latents_whatever_runs_beside_it(
    explainer: ExplainerClient, searched: dict[str, SearchResult]
) -> None:
    first, again = searched["maximise"], await explainer.explain(search("maximise"))
    wider = await explainer.explain(search("maximise", rows=6))
    for row, each in enumerate(first.explanations):
        np.testing.assert_array_equal(each.latent, again.explanations[row].latent)
        np.testing.assert_array_equal(each.latent, wider.explanations[row].latent)


async def test_explanations_are_what_the_classifier_hears(searched: dict[str, SearchResult]) -> None:
    """The activation reported is that of the returned spectrogram, by the classifier served on its own."""
    result = searched["maximise"]
    backend = LocalBackend(REPOSITORY, threads=1)
    spectrograms = np.stack([each.spectrogram for each in result.explanations])
    heard = await backend.infer("svd_r1_classifier", {"spectrogram": spectrograms}, ["fc9"])
    await backend.close()
    np.testing.assert_allclose(heard["fc9"][:, 0], result.activations(), rtol=1e-3, atol=1e-3)


async def test_references_and_scores(stack: Stack, searched: dict[str, SearchResult]) -> None:
    """Real excerpts that are high score a maximised batch better than those that are low, and the reverse."""
    music = find_recordings([MUSIC])[::4]
    backend = LocalBackend(REPOSITORY)
    async with ScorerClient(stack.endpoints.scorer) as scorer:
        for kind in ("top", "bottom"):
            await build_reference(
                scorer, backend, f"{kind}20", model="svd-r1", layer="fc9", selection=Selection(kind, 0, 20),
                recordings=music, description="demo music",
            )  # fmt: skip
        await backend.close()
        distances = {}
        for sense, result in searched.items():
            for kind in ("top", "bottom"):
                scored = await scorer.score(
                    result.layer_activations(), reference=f"{kind}20", model="svd-r1", layer="fc9",
                    weights_sha256=result.summary.weights_sha256,
                )  # fmt: skip
                distances[sense, kind] = scored.score.distance
        with pytest.raises(RpcFailure) as refused:
            await scorer.score(
                result.layer_activations(), reference="top20", model="svd-r1", layer="fc8",
                weights_sha256=result.summary.weights_sha256,
            )  # fmt: skip
        assert refused.value.code.name in ("FAILED_PRECONDITION", "INVALID_ARGUMENT")
    assert distances["minimise", "bottom"] < distances["minimise", "top"]
    assert distances["maximise", "top"] < distances["maximise", "bottom"]
