"""A real Triton, and an explainer on it, where a repository holds more than sound models."""

import shutil
from collections.abc import AsyncIterator
from dataclasses import replace

import numpy as np
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from earwitness.errors import FailedPrecondition, InvalidArgument
from earwitness.explainer.explainer import Explainer
from earwitness.explainer.metrics import ExplainerMetrics
from earwitness.explainer.optimisers import first_latent
from earwitness.explainer.settings import ExplainerSettings
from earwitness.inference.triton import TritonBackend
from earwitness.inference.triton_install import TritonInstall
from earwitness.inference.tritonserver import TritonServer
from earwitness.vocabulary.objective import Objective
from earwitness.vocabulary.search import Row, Search, Settings
from tests.helpers.tiny_bundle import TinyBundle, flip_a_bit, write_tiny_bundle
from tests.unit.inference.test_repository import odd_folders

pytestmark = pytest.mark.asyncio(loop_scope="module")
ROLES = ("generator", "classifier", "search")


def exchange(bundle: TinyBundle, other: TinyBundle, *roles: str) -> None:
    for role in roles:
        shutil.copytree(
            other.repository / other.metadata.served_name(role) / "1",
            bundle.repository / bundle.metadata.served_name(role) / "1",
            dirs_exist_ok=True,
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def explainer(
    triton_install: TritonInstall, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Explainer]:
    """On bundles of which those named `old-` have no digests, beside all sorts of folders."""
    repository, folder = tmp_path_factory.mktemp("models"), tmp_path_factory.mktemp("other")
    odd_folders(repository)
    other = write_tiny_bundle(folder, seed=7)
    write_tiny_bundle(repository, "good")
    write_tiny_bundle(repository, "old-good", digests=False)
    write_tiny_bundle(repository, "forward", gradient=False)
    exchange(write_tiny_bundle(repository, "exchanged"), other, *ROLES)
    exchange(write_tiny_bundle(repository, "old-classifier", digests=False), other, "classifier")
    for name, digests in (("flipped", True), ("old-flipped", False)):
        bundle = write_tiny_bundle(repository, name, digests=digests)
        flip_a_bit(repository / bundle.metadata.served_name("classifier") / "1" / "model.onnx")
    for name, digests in (("cut", True), ("old-cut", False), ("warm", True)):
        bundle = write_tiny_bundle(repository, name, digests=digests)
        folder = repository / bundle.metadata.served_name("search")
        if name == "warm":  # only Triton can tell
            config = (folder / "config.pbtxt").read_text()
            (folder / "config.pbtxt").write_text(config.replace('key: "prior_weight"', 'key: "prior_wait"'))
        else:
            content = (folder / "1" / "model.onnx").read_bytes()
            (folder / "1" / "model.onnx").write_bytes(content[:-100])
    async with TritonServer(triton_install, repository) as server:
        backend = TritonBackend(server.grpc_url)
        made = Explainer(backend, ExplainerSettings(), ExplainerMetrics(CollectorRegistry()))
        yield made
        await made.close()
        await backend.close()


def search(model: str, layer: str = "fc3") -> Search:
    return Search(model, (Row(0), Row(1)), Objective(layer, 0), Settings(steps=3))


async def test_triton_starts_with_what_can_be_served(explainer: Explainer) -> None:
    names = [bundle.name for bundle in await explainer.models()]
    assert names == ["forward", "good", "old-classifier", "old-flipped", "old-good"]
    unusable = await explainer.unusable_models()
    assert unusable.keys() == {"warm"}  # of the others Triton is not even shown the files
    assert "warm_search: the inference server could not load it" in unusable["warm"]


@pytest.mark.parametrize("model", ["good", "old-good"])
async def test_what_is_right_is_explained(explainer: Explainer, model: str) -> None:
    found = await explainer.search(search(model), frozenset())
    np.testing.assert_allclose(found.outcome.activations, found.layer_activations["fc3"][:, 0], rtol=1e-4)


async def test_a_bundle_without_a_search_graph_is_drawn_from(explainer: Explainer) -> None:
    found = await explainer.search(replace(search("forward"), settings=Settings(draws=500)), frozenset())
    (bundle,) = (each for each in await explainer.models() if each.name == "forward")
    assert not bundle.has_gradient
    latents = np.stack([first_latent(seed, bundle.latent_size) for seed in range(500)])
    served = explainer.serve(bundle)
    values = (await served.classify(latents, ["fc3"]))["fc3"][:, 0]
    assert [row.seed for row in found.plan.rows] == np.argsort(-values)[:2].tolist()
    np.testing.assert_allclose(found.outcome.activations, np.sort(values)[:-3:-1], rtol=1e-4)
    with pytest.raises(InvalidArgument, match="OPTIMISER_WALK or OPTIMISER_DRAWS"):
        await explainer.search(replace(search("forward"), settings=Settings("adam")), frozenset())


@pytest.mark.parametrize("model", ["old-classifier", "old-flipped"])
async def test_a_bundle_that_contradicts_itself_is_refused_naming_both(explainer: Explainer, model: str) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        await explainer.search(search(model), frozenset())
    assert caught.value.reason == "INCONSISTENT_MODEL"
    name = model.replace("-", "_")
    assert f"by {name}_search are" in caught.value.message
    assert f"by {name}_classifier, over what" in caught.value.message


async def test_a_model_that_triton_could_not_load_is_refused_with_its_reason(explainer: Explainer) -> None:
    with pytest.raises(FailedPrecondition, match="models/warm cannot be used: warm_search: ") as caught:
        await explainer.search(search("warm"), frozenset())
    assert caught.value.reason == "MODEL_UNUSABLE"
