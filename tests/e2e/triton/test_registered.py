"""`earwitness register` against a real Triton that serves other people's classifiers: registered, loaded, explained."""

import json
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry
from sklearn.ensemble import RandomForestClassifier

from earwitness.errors import AlreadyExists, EarwitnessError, InvalidArgument
from earwitness.explainer.explainer import Explainer
from earwitness.explainer.metrics import ExplainerMetrics
from earwitness.explainer.optimisers import first_latent
from earwitness.explainer.settings import ExplainerSettings
from earwitness.features import get_profile
from earwitness.inference.local import LocalBackend
from earwitness.inference.metadata import BundleMetadata, UnitLabel
from earwitness.inference.stamping import stamp
from earwitness.inference.triton import TritonBackend
from earwitness.inference.triton_install import TritonInstall
from earwitness.inference.tritonserver import TritonServer
from earwitness.registration import Registered, Registration, asking, register
from earwitness.vocabulary.objective import Objective, Sense
from earwitness.vocabulary.search import Row, Search, Settings
from tests.helpers.commands import stack_up
from tests.helpers.foreign_models import Sealed, sealed, write_forest, write_python, write_sealed
from tests.helpers.tiny_bundle import LATENT, PROFILE, TinyBundle, write_tiny_bundle

pytestmark = pytest.mark.asyncio(loop_scope="module")
BANDS, FRAMES = PROFILE.excerpt_shape
FC3 = {"output_tensor": "fc3"}
FREE = " ".join(
    f"--{name}-port 0"
    for name in ("explainer", "scorer", "triton", "explainer-metrics", "scorer-metrics", "triton-metrics")
)


class OwnTriton(TritonServer):
    """A Triton as its operator runs it: on the whole repository, loading what it is told to."""

    def _command(self, backends: Path) -> list[str]:
        words = [
            word
            for word in super()._command(backends)
            if not word.startswith(("--model-repository", "--model-control-mode"))
        ]
        return [*words, f"--model-repository={self._repository}", "--model-control-mode=explicit", "--load-model=*"]

    def _watch_stubs(self, server: int) -> None:
        """It loads models anew, and their processes end then."""


@dataclass(frozen=True)
class World:
    """The running Triton, its repository, and what its models are."""

    url: str
    repository: Path
    tiny: TinyBundle
    forest: RandomForestClassifier
    judge: Sealed

    async def register(self, name: str, classifier: str, generator: str = "tiny", **asked: object) -> Registered:
        async with asking(self.url) as triton:
            registered = await register(
                Registration(name, classifier, generator, **asked),  # type: ignore[arg-type]
                self.repository,
                triton,
            )
            for model in registered.loaded_first:
                assert await triton.load(model) is None
        return registered

    def before(self) -> set[str]:
        return {str(path.relative_to(self.repository)) for path in self.repository.rglob("*")}

    async def refusal(self, error: type[EarwitnessError], classifier: str, **asked: object) -> str:
        """What a registration is refused with, which leaves everything as it was."""
        before = self.before()
        with pytest.raises(error) as caught:
            await self.register(str(asked.pop("name", "refused")), classifier, **asked)  # type: ignore[arg-type]
        assert self.before() == before
        return caught.value.message


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(triton_install: TritonInstall, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Of the python backend, with all that is refused too."""
    repository = tmp_path_factory.mktemp("theirs")
    tiny = write_tiny_bundle(repository)
    fitted = write_forest(repository, tiny)
    row = f'input {{ name: "x" data_type: TYPE_FP32 dims: [ {BANDS}, {FRAMES} ] }}'
    out = 'output { name: "y" data_type: TYPE_FP32 dims: [ 1 ] }'
    write_python(repository, "broken", f"max_batch_size: 8 {row} {out}", "raise RuntimeError('no licence')")
    write_python(
        repository, "dice", f"max_batch_size: 8 {row} {out}",
        'x = given(request, "x")\n        return [tensor("y", np.random.rand(len(x), 1).astype(np.float32))]',
    )  # fmt: skip
    write_python(
        repository, "single",
        f'input {{ name: "x" data_type: TYPE_FP32 dims: [ 1, {BANDS}, {FRAMES} ] }}'
        'output { name: "y" data_type: TYPE_FP32 dims: [ 1, 2 ] }',
        'x = given(request, "x")\n        return [tensor("y", np.stack([x.mean((1, 2)), x.std((1, 2))], axis=1))]',
    )  # fmt: skip
    write_python(repository, "unbatched", f"{row} {out}", "pass")
    write_python(repository, "two-inputs", f"max_batch_size: 8 {row} {row.replace('x', 'z', 1)} {out}", "pass")
    write_python(repository, "unloaded", f"max_batch_size: 8 {row} {out}", "this is no python")
    with sealed(BANDS, FRAMES) as (judge, port):
        write_sealed(repository, port, BANDS, FRAMES)
        async with OwnTriton(triton_install, repository) as server:
            yield World(server.grpc_url, repository, tiny, fitted, judge)


@asynccontextmanager
async def explaining(world: World) -> AsyncIterator[Explainer]:
    backend = TritonBackend(world.url)
    made = Explainer(backend, ExplainerSettings(), ExplainerMetrics(CollectorRegistry()))
    yield made
    await made.close()
    await backend.close()


async def described(world: World, name: str) -> BundleMetadata:
    async with explaining(world) as explainer:
        return next(bundle for bundle in await explainer.models() if bundle.name == name)


def search(model: str, layer: str, unit: int, settings: Settings, sense: Sense = "maximise") -> Search:
    return Search(model, (Row(0), Row(1), Row(2)), Objective(layer, unit, sense), settings)


def drawn(world: World, count: int) -> np.ndarray:
    latents = np.stack([first_latent(seed, LATENT) for seed in range(count)])
    return world.tiny.spectrogram(latents)


async def test_a_forest_of_scikit_learn_is_explained_by_draws_and_by_the_walk(world: World) -> None:
    labels = [UnitLabel(1, "low", "high"), UnitLabel(0, "high", "low")]
    done = await world.register("forest-heard", "forest", input_axes="bands*frames", labels=labels)
    assert done.models == (
        "forest_heard_classifier",
        "forest_heard_classifier_input",
        "forest_heard_classifier_output",
        "forest_heard_generator",
    )
    assert "label" in done.notes[0]
    bundle = await described(world, "forest-heard")
    assert bundle == done.metadata
    assert [(each.name, each.kind, each.unit_count) for each in bundle.layers] == [("probabilities", "output", 2)]
    assert not bundle.has_gradient
    assert bundle.output_kind == "probability"
    assert bundle.features == PROFILE.to_dict()
    async with explaining(world) as explainer:
        found = await explainer.search(search("forest-heard", "probabilities", 1, Settings(draws=300)), frozenset())
        x = drawn(world, 300)
        truth = world.forest.predict_proba(x.reshape(len(x), -1))[:, 1]
        np.testing.assert_allclose(found.outcome.activations, np.sort(truth)[:-4:-1], atol=1e-6)
        walked = await explainer.search(
            search("forest-heard", "probabilities", 1, Settings("walk", steps=60)), frozenset()
        )
        assert (walked.outcome.activations >= truth[:3] - 1e-6).all()
        assert walked.outcome.activations.mean() > truth[:3].mean()


async def test_a_model_that_nobody_can_read_is_explained_by_what_it_does(world: World) -> None:
    done = await world.register("sealed-heard", "sealed", output_tensor="scores")
    assert done.axes == "frames,bands,1"
    assert done.metadata.output_kind == "logit"
    assert [(each.name, each.kind, each.unit_count) for each in done.metadata.layers] == [
        ("contours", "conv", 3),
        ("scores", "output", 3),
    ]
    calls = world.judge.calls
    async with explaining(world) as explainer:
        found = await explainer.search(
            search("sealed-heard", "scores", 2, Settings(draws=100), "minimise"), frozenset()
        )
        averaged = await explainer.search(search("sealed-heard", "contours", 0, Settings(draws=100)), frozenset())
    assert world.judge.calls > calls
    scores, contours = world.judge.answer(drawn(world, 100).transpose(0, 2, 1))
    np.testing.assert_allclose(np.abs(found.outcome.activations), np.abs(np.sort(scores[:, 2])[:3]), rtol=1e-4)
    np.testing.assert_allclose(averaged.outcome.activations, np.sort(contours[:, 0].mean(1))[:-4:-1], rtol=1e-4)


async def test_other_names_alone_take_an_ensemble_and_no_adapter(world: World) -> None:
    done = await world.register(
        "renamed", "tiny_classifier", output_tensor="fc3", layers={"verdict": "fc3", "hidden": "fc2"}
    )
    assert done.models == ("renamed_classifier", "renamed_generator")
    async with explaining(world) as explainer:
        found = await explainer.search(search("renamed", "verdict", 0, Settings(draws=50)), frozenset())
    truth = world.tiny.layers(drawn(world, 50))["fc3"][:, 0]
    np.testing.assert_allclose(found.outcome.activations, np.sort(truth)[:-4:-1], rtol=1e-4)


async def test_an_ensemble_a_generator_of_the_triton_and_a_scale_of_ones_own(world: World) -> None:
    done = await world.register(
        "scaled", "tiny_classifier", "tiny_generator", output_tensor="fc3", layers={"fc3": "fc3"}, features=PROFILE,
        input_offset=-6, input_scale=2,
    )  # fmt: skip
    assert done.models == ("scaled_classifier", "scaled_classifier_input", "scaled_generator")
    again = await world.register("nested", "scaled_classifier", "scaled")
    assert again.metadata.features == PROFILE.to_dict()
    async with explaining(world) as explainer:
        found = await explainer.search(search("nested", "fc3", 1, Settings(draws=50)), frozenset())
    truth = world.tiny.layers((drawn(world, 50) + 6) / 2)["fc3"][:, 1]
    np.testing.assert_allclose(found.outcome.activations, np.sort(truth)[:-4:-1], rtol=1e-4)


async def test_a_model_of_one_sound_at_a_time(world: World) -> None:
    done = await world.register("one", "single")
    assert "one sound at a time" in done.notes[0]
    async with explaining(world) as explainer:
        found = await explainer.search(search("one", "y", 1, Settings(draws=20)), frozenset())
    truth = drawn(world, 20).std(axis=(1, 2))
    np.testing.assert_allclose(found.outcome.activations, np.sort(truth)[:-4:-1], rtol=1e-4)


async def test_ways_that_need_a_gradient_say_why_not_and_what_else(world: World) -> None:
    await world.register("gradientless", "tiny_classifier", output_tensor="fc3")
    async with explaining(world) as explainer:
        with pytest.raises(
            InvalidArgument, match=r"no search graph and so no gradient: take OPTIMISER_WALK or OPTIMISER_D"
        ):
            await explainer.search(search("gradientless", "fc3", 0, Settings("adam")), frozenset())


@pytest.mark.parametrize(
    ("classifier", "asked", "said"),
    [
        ("nobody", {}, r"has no model 'nobody'; it has broken, dice, forest"),
        ("unloaded", {}, r"has 'unloaded', but it is not ready \(.*"),
        ("tiny_classifier", {}, r"output_tensor: is needed: the classifier has several outputs, probability FP32"),
        ("tiny_classifier", {"output_tensor": "logits"}, r"output_tensor: got 'logits'"),
        ("tiny_classifier", {**FC3, "version": 2}, r"version 2 of 'tiny_classifier' is not ready; 1 is"),
        ("tiny_classifier", {**FC3, "input_axes": "frames,bands"}, r"\[12, 8\] a row, .* takes bands,frames"),
        ("tiny_classifier", {**FC3, "layers": {"a": "fc9"}}, r"layer: a: no output 'fc9'"),
        ("tiny_classifier", {**FC3, "labels": [UnitLabel(2, "a", "b")]}, r"has outputs 0 to 1"),
        ("tiny_classifier", {**FC3, "features": get_profile("log-mel-80@1")}, r"the generator 'tiny' makes"),
        ("tiny_search", {"output_tensor": "activation"}, r"takes 3 inputs"),
        ("tiny_generator", {}, r"features: make spectrograms of 8 bands × 12 frames, .* takes none of"),
        ("forest", {}, r"input_axes: .* as bands\*frames or as frames\*bands"),
        ("broken", {}, r"broken fails for x \[8, 8, 12\]: .*no licence"),
        ("dice", {}, r"does not give a sound one answer: output 'y'"),
        ("unbatched", {}, r"takes no batch"),
        ("two-inputs", {}, r"takes 2 inputs"),
        ("tiny_classifier", {**FC3, "generator": "nobody"}, r"no model 'nobody' whose generator"),
        ("tiny_classifier", {**FC3, "generator": "tiny_classifier"}, r"takes latents FP32 \[Z\]"),
        ("tiny_classifier", {**FC3, "name": "Own"}, r"name: got 'Own', expected"),
        ("tiny_classifier", {**FC3, "name": "tiny"}, r"tiny_generator exists already"),
    ],
)  # fmt: skip
async def test_what_does_not_fit_is_refused_before_anything_is_written(
    world: World, classifier: str, asked: dict[str, object], said: str
) -> None:
    message = await world.refusal(EarwitnessError, classifier, **asked)
    assert re.search(said, message), message


async def test_a_name_that_is_taken_is_replaced_when_told(world: World) -> None:
    first = await world.register("again", "tiny_classifier", output_tensor="fc3")
    message = await world.refusal(AlreadyExists, "tiny_classifier", name="again", output_tensor="fc2")
    assert "--force" in message
    second = await world.register("again", "tiny_classifier", output_tensor="fc2", replace=True)
    assert (await described(world, "again")) == second.metadata != first.metadata
    third = await world.register("again", "tiny_classifier", output_tensor="fc2", replace=True)
    assert third.metadata == second.metadata


async def test_its_repository_is_served_in_process_too_less_what_only_the_triton_runs(world: World) -> None:
    await world.register("elsewhere", "tiny_classifier", output_tensor="fc3")
    backend = LocalBackend(world.repository, threads=1)
    assert [bundle.name for bundle in await backend.bundles()] == ["tiny"]
    assert "`earwitness up --triton HOST:PORT`" in (await backend.left_out())["elsewhere"]
    await backend.close()
    assert [(each.name, each.refused) for each in stamp(world.repository)] == [("tiny", "")]


def run(words: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words.split(), cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


async def test_the_commands_from_a_registration_to_a_page(
    world: World, tmp_path: Path, environment: dict[str, str]
) -> None:
    where = f"--triton {world.url} --model-repository {world.repository}"
    told = f"earwitness register by-command -c sealed -g tiny --output-tensor scores --label 0=a/b --load {where}"
    done = run(told, tmp_path, environment)
    assert done.returncode == 0, done.stderr
    assert "takes frames,bands,1; layers: contours (3), scores (3)" in done.stdout
    refused = run(told, tmp_path, environment)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "--force" in refused.stderr
    with stack_up(f"earwitness up --triton {world.url} {FREE}", tmp_path, environment):
        listed = json.loads(run("earwitness models --json", tmp_path, environment).stdout)
        assert "by-command" in [model["name"] for model in listed]
        explained = run(
            "earwitness explain by-command --optimiser walk --steps 20 -n 2 --out out", tmp_path, environment
        )
        assert explained.returncode == 0, explained.stderr
        ascended = run("earwitness explain by-command --optimiser adam -n 2 --out other", tmp_path, environment)
    assert (tmp_path / "out" / "index.html").is_file()
    assert ascended.returncode == 1
    assert "no gradient" in ascended.stderr
    assert not (tmp_path / "other").exists()
