"""The bundle in model_repository/, explained over gRPC on a real Triton."""

import re
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


@pytest.fixture(scope="module")
def bundle() -> BundleMetadata:
    served = read_repository(REPOSITORY)
    bundles = complete_bundles({name: model.parameters for name, model in served.items()})
    return next(each for each in bundles if each.name == "svd-r1")


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


def search(sense: str, rows: int = 4) -> Search:
    return Search.of("svd-r1", Objective("fc9", unit=0, sense=sense), row_count=rows, settings=SETTINGS)


async def test_card_and_index_describe_it(bundle: BundleMetadata) -> None:
    card = (REPOSITORY / "svd_r1.md").read_text(encoding="utf-8")
    assert bundle.weights_sha256 in card
    assert (REPOSITORY / re.findall(r"!\[.*\]\((.*)\)", card)[0]).is_file()
    assert "(svd_r1.md)" in (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert [layer.name for layer in bundle.layers] == [
        "conv1", "conv2", "pool3", "conv4", "conv5", "pool6", "fc7", "fc8", "fc9",
    ]  # fmt: skip
    assert (bundle.labels[0].maximise, bundle.labels[0].minimise) == ("vocal", "non-vocal")


async def test_search_moves_the_unit_both_ways(explainer: ExplainerClient) -> None:
    results: dict[str, SearchResult] = {}
    for sense in ("maximise", "minimise"):
        results[sense] = await explainer.explain(search(sense), artefacts=["audio", "trajectory"])
        assert "triton" in results[sense].summary.backend
    for sense, sign in (("maximise", 1), ("minimise", -1)):
        for each in results[sense].explanations:
            assert each.trajectory is not None
            assert sign * (each.activation - each.trajectory.activations[0]) > 1.0
            assert each.audio_wav is not None
            assert each.audio_wav.startswith(b"RIFF")
            assert np.isfinite(each.spectrogram).all()
    assert results["maximise"].activations().min() > results["minimise"].activations().max()


async def test_same_request_same_latents_whatever_runs_beside_it(explainer: ExplainerClient) -> None:
    first, again = [await explainer.explain(search("maximise")) for _ in range(2)]
    wider = await explainer.explain(search("maximise", rows=6))
    for row, each in enumerate(first.explanations):
        np.testing.assert_array_equal(each.latent, again.explanations[row].latent)
        np.testing.assert_array_equal(each.latent, wider.explanations[row].latent)


async def test_explanations_are_what_the_classifier_hears(explainer: ExplainerClient) -> None:
    """The activation reported is that of the returned spectrogram, by the classifier served on its own."""
    result = await explainer.explain(search("maximise"))
    backend = LocalBackend(REPOSITORY, threads=1)
    spectrograms = np.stack([each.spectrogram for each in result.explanations])
    heard = await backend.infer("svd_r1_classifier", {"spectrogram": spectrograms}, ["fc9"])
    await backend.close()
    np.testing.assert_allclose(heard["fc9"][:, 0], result.activations(), rtol=1e-3, atol=1e-3)


async def test_references_and_scores(stack: Stack, explainer: ExplainerClient, tmp_path: Path) -> None:
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
        for sense in ("maximise", "minimise"):
            result = await explainer.explain(search(sense))
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
