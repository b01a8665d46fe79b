"""`earwitness doctor` on services in order, and on each thing that it is there to find."""

import asyncio
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from grpc import StatusCode

from earwitness import __version__
from earwitness.client import (
    ExplainerClient,
    ReferenceIdentity,
    RpcFailure,
    ScorerClient,
    Search,
    SearchResult,
    Selection,
)
from earwitness.client.doctor import Finding, diagnose
from earwitness.inference.factory import open_backend
from earwitness.rpc.errors import FieldViolation
from tests.helpers.tiny_bundle import TinyBundle, flip_a_bit, write_tiny_bundle
from tests.integration.cli.conftest import Run
from tests.integration.cli.served import Served, served


def examine(stack: Served, *, version: str = __version__, repository: Path | None = None) -> list[Finding]:
    async def work() -> list[Finding]:
        backend = open_backend("local", model_repository=repository or stack.tiny.repository, threads=1)
        try:
            async with ExplainerClient(stack.explainer) as explainer, ScorerClient(stack.scorer) as scorer:
                return [each async for each in diagnose(explainer, scorer, backend, version=version)]
        finally:
            await backend.close()

    return asyncio.run(work())


def of(found: list[Finding], level: str) -> list[tuple[str, str]]:
    return [(each.part, each.words) for each in found if each.level == level]


@pytest.fixture(scope="module")
def identity(stack: Served) -> ReferenceIdentity:
    async def work() -> ReferenceIdentity:
        async with ExplainerClient(stack.explainer) as explainer:
            return ReferenceIdentity.of_model(await explainer.get_model("tiny"), "fc3")

    return asyncio.run(work())


def add_reference(stack: Served, name: str, identity: ReferenceIdentity, *, frozen: bool = True) -> None:
    async def work() -> None:
        async with ScorerClient(stack.scorer) as scorer:
            await scorer.create_reference(name, identity=identity, selection=Selection())
            rows = np.random.default_rng(0).standard_normal((8, identity.unit_count)).astype(np.float32)
            await scorer.append_activations(name, "rows", rows)
            if frozen:
                await scorer.freeze_reference(name)

    asyncio.run(work())


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[Served]:
    """Services on a bundle whose gradient is zero."""
    folder = tmp_path / "broken"
    write_tiny_bundle(folder, defect="zero_gradient")
    with served(tmp_path, folder) as running:
        yield running


def test_in_order(run: Run, stack: Served, identity: ReferenceIdentity) -> None:
    add_reference(stack, "good", identity)
    found = run("doctor", "--data", stack.data, "--json").json()
    assert {each["part"]: each["level"] for each in found} == dict.fromkeys(
        ("explainer", "scorer", "models/tiny", "repository", "inference", "limits", "references"), "ok"
    )
    words = {each["part"]: each["words"] for each in found}
    assert f"version {__version__}" in words["explainer"]
    assert "gradients of 3 layers are right" in words["models/tiny"]
    assert words["limits"] == "hold for rows (a search has 1 to 256) and steps (it must be 1 to 10000)"
    assert words["repository"] == f"3 files of models in {stack.tiny.repository} are those that were exported"
    printed = run("doctor", "--data", stack.data)
    assert printed.exit_code == 0
    assert printed.stdout.count("ok ") == 7
    assert "→" not in printed.stdout
    assert printed.stdout.splitlines()[-1] == "all is well"
    for word in ("got", "error", "fail", "refused"):  # nothing that is well reads as if it were not
        assert word not in printed.stdout


def test_quick_searches_nothing_and_waits_for_nobody(
    run: Run, stack: Served, identity: ReferenceIdentity, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[Search] = []
    explain = ExplainerClient.explain

    async def answer(client: ExplainerClient, search: Search, **options: float) -> SearchResult:
        searched.append(search)
        return await explain(client, search, **options)

    monkeypatch.setattr(ExplainerClient, "explain", answer)
    found = {each["part"]: each for each in run("doctor", "--quick", "--data", stack.data, "--json").json()}
    assert found.keys() == {"explainer", "scorer", "models/tiny", "inference", "limits", "references"}
    assert "gradients were not asked for" in found["models/tiny"]["words"]
    assert len(searched) == 2  # those that are refused

    async def never(client: ScorerClient, **options: float) -> bool:
        await asyncio.Event().wait()
        return True

    monkeypatch.setattr(ScorerClient, "serving", never)
    monkeypatch.setattr("earwitness.cli.doctor.QUICK_S", 0.5)
    late = run("doctor", "--quick", "--data", stack.data)
    assert late.exit_code == 1
    assert "parts not listed above were not checked" in late.stdout
    assert late.stdout.splitlines()[-1] == "failures: 1, warnings: 0"


def test_references_that_fit_nothing_served(stack: Served, identity: ReferenceIdentity) -> None:
    def but(**changes: object) -> ReferenceIdentity:
        return ReferenceIdentity(**{**vars(identity), **changes})

    add_reference(stack, "old", but(weights_sha256="ab" * 32))
    add_reference(stack, "other", but(model="gone"))
    add_reference(stack, "strange", but(layer="fc9"))
    add_reference(stack, "open", identity, frozen=False)
    found = examine(stack)
    said = dict(of(found, "warning"))
    assert said.keys() == {f"references/{name}" for name in ("old", "other", "strange", "open")}
    assert "is of other weights of models/tiny (abababababab, served are" in said["references/old"]
    assert "models/gone, which is not served" in said["references/other"]
    assert "does not fit layer fc9" in said["references/strange"]
    assert "no version yet" in said["references/open"]
    assert of(found, "failure") == []
    assert all(each.remedy for each in found if each.level != "ok")


def test_another_version_and_a_clock_that_is_off(stack: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earwitness.rpc.context.time", lambda: time.time() - 90)
    said = of(examine(stack, version="9.9"), "warning")
    for part in ("explainer", "scorer"):
        (version, clock) = [words for each, words in said if each == part]
        assert version == f"runs version {__version__}, this is 9.9"
        assert clock.startswith(("its clock is 90", "its clock is 89"))
        assert clock.endswith("s behind the one here")


@pytest.mark.parametrize(("lapses", "level"), [(2, "ok"), (3, "failure")])
def test_a_lapse_of_health_is_no_finding_but_its_absence_is(
    stack: Served, monkeypatch: pytest.MonkeyPatch, lapses: int, level: str
) -> None:
    serving, asked = ScorerClient.serving, list[None]()

    async def answer(client: ScorerClient, **options: float) -> bool:
        asked.append(None)
        return len(asked) > lapses and await serving(client, **options)

    monkeypatch.setattr(ScorerClient, "serving", answer)
    monkeypatch.setattr("earwitness.client.doctor.HEALTH_INTERVAL_S", 0.01)
    assert [each.level for each in examine(stack) if each.part == "scorer"] == [level]
    assert len(asked) == 3


def test_a_scorer_that_is_down_fails_and_the_rest_is_examined(run: Run, stack: Served) -> None:
    done = run("doctor", "--data", stack.data, "--scorer", "127.0.0.1:1", "--json")
    assert done.exit_code == 1
    assert '"level": "failure"' in done.stdout
    assert "127.0.0.1:1 cannot be reached" in done.stdout
    assert "gradients of 3 layers are right" in done.stdout


def test_inference_that_serves_something_else(stack: Served, tmp_path: Path) -> None:
    other: TinyBundle = write_tiny_bundle(tmp_path / "other", seed=1)
    ((part, words),) = of(examine(stack, repository=other.repository), "failure")
    assert part == "inference"
    assert words.startswith("models/tiny is ")


def test_files_that_are_not_those_that_were_exported(run: Run, stack: Served, tmp_path: Path) -> None:
    repository = tmp_path / "models"
    write_tiny_bundle(repository)
    write_tiny_bundle(repository, "old", digests=False)
    other = write_tiny_bundle(tmp_path / "other", seed=1)
    for role in ("generator", "classifier", "search"):
        shutil.copytree(other.repository / f"tiny_{role}/1", repository / f"tiny_{role}/1", dirs_exist_ok=True)
    done = run("doctor", "--data", stack.data, "--model-repository", repository, "--json")
    assert done.exit_code == 1
    found = [each for each in json.loads(done.stdout) if each["part"] == "repository"]
    assert [each["level"] for each in found] == ["failure", "warning", "ok"]
    for role in ("generator", "classifier", "search"):
        assert f"{repository / f'tiny_{role}/1/model.onnx'} is not the file that was exported" in found[0]["words"]
    assert "models/old carries no digests" in found[1]["words"]
    assert found[1]["remedy"] == f"earwitness stamp --model-repository {repository}"
    assert run("stamp", "--model-repository", repository).exit_code == 1  # of the exchanged one, which it leaves
    again = run("doctor", "--data", stack.data, "--model-repository", repository, "--json").stdout
    assert [each["level"] for each in json.loads(again) if each["part"] == "repository"] == ["failure", "ok"]


@pytest.fixture
def damaged(tmp_path: Path) -> Iterator[Served]:
    """Services on two bundles, of one of which a bit is flipped."""
    folder = tmp_path / "damaged"
    write_tiny_bundle(folder, "good")
    write_tiny_bundle(folder, "flipped")
    flip_a_bit(folder / "flipped_classifier/1/model.onnx")
    with served(tmp_path, folder) as running:
        yield running


def test_a_damaged_model_is_told_of_and_the_other_explained(run: Run, damaged: Served) -> None:
    listed = run("models", "--data", damaged.data)
    assert listed.exit_code == 0
    assert listed.stdout.startswith("good tells ")
    assert "flipped cannot be explained: " in listed.stderr
    assert "flipped_classifier/1/model.onnx is not the file that was exported" in listed.stderr
    refused = run("explain", "flipped", "--maximise", "--data", damaged.data, "--out", damaged.data / "out")
    assert refused.exit_code == 1
    assert "models/flipped cannot be used: " in refused.stderr
    found = json.loads(run("doctor", "--data", damaged.data, "--json").stdout)
    failures = {each["part"]: each["words"] for each in found if each["level"] == "failure"}
    assert failures.keys() == {"models/flipped", "repository"}
    assert all("flipped_classifier/1/model.onnx" in words for words in failures.values())
    assert "gradients of 3 layers" in next(each["words"] for each in found if each["part"] == "models/good")


@pytest.mark.parametrize(
    ("failure", "words", "remedy"),
    [
        (RpcFailure(StatusCode.DEADLINE_EXCEEDED, "late"), "far too many rows was begun", "limit the rows"),
        (None, "far too many rows was begun", "limit the rows"),
        (RpcFailure(StatusCode.PERMISSION_DENIED, "not you"), "not you", "role explain"),
        (RpcFailure(StatusCode.RESOURCE_EXHAUSTED, "64 calls", "TOO_MANY_CALLS"), "64 calls", "fewer call it"),
        (RpcFailure(StatusCode.UNAVAILABLE, "Triton is away", "INFERENCE_UNAVAILABLE"), "Triton is away", "start what"),
        (
            RpcFailure(StatusCode.INVALID_ARGUMENT, "no such", violations=(FieldViolation("search.model", "no such"),)),
            "no such", "look into its log",
        ),
    ],
)  # fmt: skip
def test_limits_that_are_not_seen_to_hold(
    stack: Served, monkeypatch: pytest.MonkeyPatch, failure: RpcFailure | None, words: str, remedy: str
) -> None:
    explain = ExplainerClient.explain

    async def answer(client: ExplainerClient, search: Search, **options: float) -> SearchResult | None:
        if len(search.rows) < 1000:
            return await explain(client, search, **options)
        if failure is not None:
            raise failure
        return None

    monkeypatch.setattr(ExplainerClient, "explain", answer)
    failures = [each for each in examine(stack) if each.level == "failure"]
    assert [each.part for each in failures] == ["limits"], failures
    (found,) = failures
    assert words in found.words
    assert remedy in found.remedy


def test_a_gradient_that_is_wrong(broken: Served) -> None:
    ((part, words),) = of(examine(broken, repository=broken.data.parent / "broken"), "failure")
    assert part == "models/tiny"
    assert words.startswith("layer conv1: ")
    assert "gradient" in words


@pytest.fixture
def forward(tmp_path: Path) -> Iterator[Served]:
    """A stack whose one bundle has no search graph."""
    folder = tmp_path / "forward"
    write_tiny_bundle(folder, gradient=False)
    with served(tmp_path, folder) as running:
        yield running


def test_a_model_without_gradients_is_drawn_from(run: Run, forward: Served, tmp_path: Path) -> None:
    done = run("doctor", "--data", forward.data, "--model-repository", tmp_path / "forward", "--json")
    words = {each["part"]: each["words"] for each in done.json()}
    assert words["models/tiny"].startswith("3 layers answer; it has no gradients (")
    assert words["repository"].startswith("2 files of models")
    assert words["limits"] == "hold for rows (a search has 1 to 256) and steps (it must be 1 to 10000)"
    assert {each["part"] for each in done.json() if each["level"] != "ok"} == {"references"}, "there are none"
