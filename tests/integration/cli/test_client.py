"""The Python client against real services."""

import asyncio
import shutil
from pathlib import Path

import grpc
import numpy as np
import pytest

from earwitness.client import (
    ALL_ARTEFACTS,
    Criterion,
    ExplainerClient,
    KeptLayer,
    Nearness,
    Objective,
    Partial,
    Progress,
    ReferenceIdentity,
    Row,
    RpcFailure,
    ScorerClient,
    Search,
    Selection,
    Settings,
    build_reference,
    build_reference_from_activations,
    references,
)
from earwitness.client.activations import ActivationBatch
from earwitness.client.explaining import explain_and_score
from earwitness.client.refusals import InvalidField, ModelNotFound, ReferenceMismatch, ReferenceNotFrozen
from earwitness.errors import InvalidArgument
from earwitness.inference.local import LocalBackend
from tests.integration.cli.served import Served, write_recording

STEPS = Settings(steps=15)


async def test_models(stack: Served) -> None:
    async with ExplainerClient(stack.explainer) as explainer:
        (model,) = await explainer.list_models()
        assert model == await explainer.get_model("tiny")
        assert await explainer.serving()
    assert model.layers == stack.tiny.metadata.layers
    assert model.labels == stack.tiny.metadata.labels
    assert model.weights_sha256 == stack.tiny.metadata.weights_sha256
    assert model.output_layer.name == "fc3"


async def test_explanations_are_what_the_model_says(stack: Served) -> None:
    search = Search.of("tiny", Objective("fc3", 1, "minimise"), row_count=3, seed=4, settings=STEPS)
    async with ExplainerClient(stack.explainer) as explainer:
        result = await explainer.explain(search, artefacts=["trajectory"])
    latents = np.stack([each.latent for each in result.explanations])
    spectrograms = stack.tiny.spectrogram(latents)
    np.testing.assert_allclose(np.stack([each.spectrogram for each in result.explanations]), spectrograms, atol=1e-4)
    np.testing.assert_allclose(result.layer_activations(), stack.tiny.layers(spectrograms)["fc3"], atol=1e-4)
    np.testing.assert_allclose(result.activations(), result.layer_activations()[:, 1], atol=1e-5)
    assert [each.seed for each in result.explanations] == [4, 5, 6]
    assert result.summary.row_step_count == 3 * 15
    trajectory = result.explanations[0].trajectory
    assert trajectory is not None
    assert trajectory.activations[0] > result.explanations[0].activation
    assert result.explanations[0].audio_wav is None


async def test_streamed_and_unary_searches_agree(stack: Served) -> None:
    direction = Objective("conv1", direction={0: 1.0, 2: -2.0})
    rows = (Row(1), Row(2, settings=Settings("sgd", 0.1, 0.0, 5)), Row(3, direction))
    search = Search("tiny", rows, Objective("fc2", 3), STEPS)
    seen: list[Progress] = []
    async with ExplainerClient(stack.explainer) as explainer:
        unary = await explainer.explain(search)
        streamed = await explainer.explain(search, on_progress=seen.append)
    assert [each.objective for each in streamed.explanations] == [Objective("fc2", 3), Objective("fc2", 3), direction]
    assert streamed.explanations[1].settings == Settings("sgd", 0.1, 0.0, 5, 0.0)
    for one, other in zip(unary.explanations, streamed.explanations, strict=True):
        np.testing.assert_array_equal(one.latent, other.latent)
    assert all(progress.step_count == 15 and len(progress.best_activations) == 3 for progress in seen)


async def test_artefacts(stack: Served) -> None:
    search = Search.of("tiny", Objective("fc3", 0), row_count=1, settings=STEPS)
    async with ExplainerClient(stack.explainer) as explainer:
        (explanation,) = (await explainer.explain(search, artefacts=ALL_ARTEFACTS)).explanations
    assert explanation.audio_wav is not None
    assert explanation.audio_wav[:4] == b"RIFF"
    assert explanation.picture_png is not None
    assert explanation.picture_png[1:4] == b"PNG"
    assert explanation.audio_gain is not None
    assert explanation.audio_gain > 0


async def test_refusals_say_what_the_server_says(stack: Served) -> None:
    async with ExplainerClient(stack.explainer) as explainer:
        with pytest.raises(ModelNotFound) as missing:
            await explainer.get_model("none")
        search = Search.of("tiny", Objective("fc3", 0), row_count=1, settings=Settings(steps=0))
        with pytest.raises(InvalidField) as wrong:
            await explainer.explain(search, on_progress=lambda progress: None)
    assert (missing.value.code, missing.value.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
    assert wrong.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert [violation.field for violation in wrong.value.violations] == ["search.settings.steps"]


async def test_nobody_there_is_said_with_the_address() -> None:
    async with ExplainerClient("127.0.0.1:1") as explainer:
        assert not await explainer.serving(timeout_s=1.0)
        with pytest.raises(RpcFailure, match=r"127\.0\.0\.1:1 cannot be reached"):
            await explainer.list_models(timeout_s=5.0)


async def test_deadline_gives_the_best_so_far(stack: Served) -> None:
    search = Search.of("tiny", Objective("fc3", 0), row_count=2, settings=Settings(steps=10_000))
    async with ExplainerClient(stack.explainer) as explainer:
        result = await explainer.explain(search, timeout_s=2.0)
    assert result.summary.stopped_by == "deadline"
    assert 0 < result.summary.row_step_count < 20_000


async def test_cancelling_ends_the_call(stack: Served) -> None:
    search = Search.of("tiny", Objective("fc3", 0), row_count=2, settings=Settings(steps=10_000))
    begun = asyncio.Event()
    async with ExplainerClient(stack.explainer) as explainer:
        task = asyncio.create_task(explainer.explain(search, on_progress=lambda progress: begun.set()))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await explainer.list_models()


async def test_reference_of_recordings_counts_each_once(stack: Served, tmp_path: Path) -> None:
    first = write_recording(tmp_path / "a.wav", 5)
    copy = Path(shutil.copy(first, tmp_path / "b.wav"))
    short = write_recording(tmp_path / "short.wav", 0.5, seed=1)
    backend = LocalBackend(stack.tiny.repository, threads=1)
    try:
        async with ScorerClient(stack.scorer) as scorer:
            build = {"model": "tiny", "layer": "fc2", "selection": Selection()}
            built = await build_reference(scorer, backend, "once", recordings=[first, copy, short], **build)
            assert (built.added_shard_count, built.duplicate_shard_count, built.too_short) == (1, 1, (short,))
            assert built.version.row_count == built.reference.row_count == 9  # every half of five excerpts
            again = await build_reference(scorer, backend, "once", recordings=[first], **build)
            assert (again.added_shard_count, again.version.name) == (0, built.version.name)
            more = write_recording(tmp_path / "more.wav", 3, seed=2)
            grown = await build_reference(scorer, backend, "once", recordings=[more], **build)
            assert grown.version.name == "references/once/versions/2"
            assert len(grown.reference.versions) == 2
            changes = {"is of fc2 of tiny": {"layer": "fc3"}, "selects all": {"selection": Selection("top", 0, 5)}}
            for said, changed in changes.items():
                with pytest.raises(InvalidArgument, match=said):
                    await build_reference(scorer, backend, "once", recordings=[first], **{**build, **changed})
            await scorer.delete_reference("once")
            with pytest.raises(RpcFailure, match="does not exist"):
                await scorer.get_reference("once")
    finally:
        await backend.close()


async def test_a_reference_keeps_all_layers_of_the_top_excerpts(stack: Served, tmp_path: Path) -> None:
    first, more = write_recording(tmp_path / "a.wav", 8), write_recording(tmp_path / "b.wav", 6, seed=1)
    backend = LocalBackend(stack.tiny.repository, threads=1)
    layers = tuple(KeptLayer(each.name, each.unit_count) for each in stack.tiny.metadata.layers)
    width = sum(each.unit_count for each in layers)
    weights = stack.tiny.metadata.weights_sha256
    try:
        async with ScorerClient(stack.scorer) as scorer:
            build = {"model": "tiny", "layer": "fc3", "selection": Selection("top", 1, 6)}
            plain = await build_reference(scorer, backend, "plain6", recordings=[first], keep_layers=[], **build)
            deep = await build_reference(scorer, backend, "deep6", recordings=[first], **build)
            assert (plain.reference.kept_layers, deep.reference.kept_layers) == ((), layers)
            assert (plain.reference.width, deep.reference.width) == (2, width)
            for field in ("row_count", "selected_count", "unit_minimum", "unit_maximum"):
                assert getattr(deep.version, field) == getattr(plain.version, field), field
            # Who builds again need not say what it keeps; who says something else is refused.
            for name, kept in (("plain6", ()), ("deep6", layers)):
                grown = await build_reference(scorer, backend, name, recordings=[first, more], **build)
                assert (grown.added_shard_count, grown.reference.kept_layers) == (1, kept)
            with pytest.raises(InvalidArgument, match="deep6 keeps conv1, fc2, fc3, not fc3 alone; choose an"):
                await build_reference(scorer, backend, "deep6", recordings=[first], keep_layers=[], **build)
            with pytest.raises(InvalidArgument, match="plain6 keeps fc3, not fc2, fc3; choose another name"):
                await build_reference(scorer, backend, "plain6", recordings=[first], keep_layers=["fc2"], **build)
            kept = (await scorer.read_statistics("deep6")).partial.rows
            assert kept is not None
            assert kept.shape == (6, width)
            own = (await scorer.read_statistics("plain6")).partial.rows
            np.testing.assert_array_equal(kept[:, -2:], own)
            of = {"reference": "deep6", "model": "tiny", "weights_sha256": weights}
            near = await scorer.measure_nearness(kept, nearness=Nearness(("fc2", "fc3"), 1), **of)
            assert (near.layers, near.version) == (("fc2", "fc3"), grown.version)
            assert near.distances.shape == (6, 2)
            assert not near.distances.any()
            far = await scorer.measure_nearness(kept + 1, **of)
            assert far.layers == ("conv1", "fc2", "fc3")
            assert far.distances.min() > 0
            with pytest.raises(RpcFailure, match="INVALID_ARGUMENT: neighbour_count: is 7"):
                await scorer.measure_nearness(kept, nearness=Nearness(neighbour_count=7), **of)
            ranked = await scorer.rank(
                {"far": kept + 1, "near": kept}, layer="fc3", unit=1, criterion=Criterion("nearness"), **of
            )
            assert [(each.id, each.criterion_value) for each in ranked.batches] == [("near", 3), ("far", 6)]
    finally:
        await backend.close()


async def test_references_of_more_than_a_shard_holds(
    stack: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.random.default_rng(0).standard_normal((65_537, 256), np.float32)
    identity = ReferenceIdentity("tiny", stack.tiny.metadata.weights_sha256, "fc7", 256, "log-mel-8-test@1")
    backend = LocalBackend(stack.tiny.repository, threads=1)
    try:
        async with ScorerClient(stack.scorer) as scorer:
            for added in (2, 0):
                batch = ActivationBatch(rows, None)
                built = await build_reference_from_activations(
                    scorer, "wide", batch, identity=identity, selection=Selection()
                )
                assert (built.added_shard_count, built.version.row_count) == (added, len(rows))
            recording = write_recording(tmp_path / "long.wav", 5)
            monkeypatch.setattr(references, "MAX_SHARD_ROWS", 4)
            for added in (3, 0):
                built = await build_reference(
                    scorer, backend, "long", recordings=[recording], model="tiny", layer="fc2", selection=Selection()
                )
                assert (built.added_shard_count, built.duplicate_shard_count) == (added, 3 - added)
                assert built.version.row_count == 9
    finally:
        await backend.close()


async def test_a_refusal_before_the_last_chunk_reaches_the_caller(stack: Served) -> None:
    """One in six was lost in grpc.aio and reported as INTERNAL."""
    rows = np.zeros((2**20, 2), np.float32)  # too many, which the header says already
    async with ScorerClient(stack.scorer) as scorer:
        for _ in range(60):
            with pytest.raises(RpcFailure, match=r"^INVALID_ARGUMENT: header\.row_count: is 1048576; must be"):
                await scorer.append_activations("none", "big", rows)


async def test_large_shards_and_paged_lists(stack: Served) -> None:
    rows = np.random.default_rng(0).standard_normal((300_000, 2)).astype(np.float32)  # 2.3 MiB: three chunks
    async with ExplainerClient(stack.explainer) as explainer, ScorerClient(stack.scorer) as scorer:
        identity = ReferenceIdentity.of_model(await explainer.get_model("tiny"), "fc3")
        for index in range(60):  # more than a page
            await scorer.create_reference(f"paged-{index:02d}", identity=identity, selection=Selection())
        names = [each.name for each in await scorer.list_references(model="tiny")]
        assert [name for name in names if name.startswith("paged-")] == [f"paged-{index:02d}" for index in range(60)]
        assert await scorer.list_references(model="other") == []
        assert await scorer.append_activations("paged-00", "big", rows)
        assert not await scorer.append_activations("paged-00", "big", rows)
        unfit = {"model": "tiny", "weights_sha256": identity.weights_sha256, "layer": "fc2"}
        with pytest.raises(ReferenceNotFrozen):
            await scorer.score(rows[:50], reference="paged-00", **{**unfit, "layer": "fc3"})
        version = await scorer.freeze_reference("paged-00")
        assert version.row_count == len(rows)
        with pytest.raises(ReferenceMismatch, match="FAILED_PRECONDITION: layer of the batch is fc2") as mismatch:
            await scorer.score(rows[:50], reference="paged-00", **unfit)
        assert (mismatch.value.metadata or {})["field"] == "layer"
        scored = await scorer.score(
            rows[:500], reference="paged-00", model="tiny", weights_sha256=identity.weights_sha256, layer="fc3"
        )
        assert scored.version == version
        assert scored.score.distance < scored.score.noise_floor_high * 3
        assert scored.score.interval_low <= scored.score.distance <= scored.score.interval_high * 1.01


async def test_statistics_are_merged_and_read(stack: Served) -> None:
    rows = np.random.default_rng(0).standard_normal((300_000, 2)).astype(np.float32)
    async with ExplainerClient(stack.explainer) as explainer, ScorerClient(stack.scorer) as scorer:
        identity = ReferenceIdentity.of_model(await explainer.get_model("tiny"), "fc3")
        for name, selection in {"of-all": Selection(), "of-top": Selection("top", 1, 10_000)}.items():
            await scorer.create_reference(name, identity=identity, selection=selection)
            for index, piece in enumerate(np.split(rows, 3)):
                partial = Partial.of(piece, selection)
                assert await scorer.merge_statistics(name, f"part {index}", partial)
                assert not await scorer.merge_statistics(name, f"part {index}", partial)
            version = await scorer.freeze_reference(name)
            whole = Partial.of(rows, selection)
            assert (version.row_count, version.selected_count) == (len(rows), selection.k or len(rows))
            read = await scorer.read_statistics(f"{name}/versions/1")
            assert (read.reference, read.version) == (await scorer.get_reference(name), version)
            assert read.partial.row_count == len(rows)
            if whole.moments is None:
                np.testing.assert_array_equal(read.partial.rows, whole.rows)
            else:
                assert read.partial.moments is not None
                np.testing.assert_allclose(read.partial.moments.scatter, whole.moments.scatter, rtol=1e-12, atol=1e-8)
        with pytest.raises(RpcFailure, match="of-all/versions/2 does not exist"):
            await scorer.read_statistics("of-all/versions/2")


async def test_batches_are_ranked(stack: Served) -> None:
    rng = np.random.default_rng(0)
    real, batches = rng.random((200, 2), np.float32), {
        f"by {shift}": rng.random((20, 2), np.float32) + np.float32(shift) for shift in (5, 0, 1)
    }  # fmt: skip
    async with ExplainerClient(stack.explainer) as explainer, ScorerClient(stack.scorer) as scorer:
        identity = ReferenceIdentity.of_model(await explainer.get_model("tiny"), "fc3")
        await scorer.create_reference("ranked", identity=identity, selection=Selection())
        await scorer.append_activations("ranked", "s", real)
        version = await scorer.freeze_reference("ranked")
        against = {"reference": "ranked", "model": "tiny", "layer": "fc3", "seed": 2}
        against["weights_sha256"] = identity.weights_sha256
        ranking = await scorer.rank(batches, **against)
        assert ranking.version == version
        assert [(each.rank, each.id, each.leaves_range) for each in ranking.batches] == [
            (1, "by 0", False), (2, "by 1", True), (3, "by 5", True),
        ]  # fmt: skip
        assert ranking.batches[0].probability_best == 1
        assert ranking.batches[1].score == (await scorer.score(batches["by 1"], **against)).score
        with pytest.raises(RpcFailure, match=r"batches\[2\]\.activations\.shape"):
            await scorer.rank({**batches, "by 1": batches["by 1"][:9]}, **against)


async def test_explain_and_score_refuses_before_it_searches(stack: Served) -> None:
    async with ExplainerClient(stack.explainer) as explainer, ScorerClient(stack.scorer) as scorer:
        model = await explainer.get_model("tiny")
        await scorer.create_reference(
            "unfrozen", identity=ReferenceIdentity.of_model(model, "fc3"), selection=Selection()
        )
        search = Search.of("tiny", Objective("fc3", 0), row_count=2, settings=STEPS)
        single = Search.of("tiny", Objective("fc3", 0), row_count=1, settings=STEPS)
        other = Search.of("tiny", Objective("fc2", 0), row_count=2, settings=STEPS)
        with pytest.raises(Exception, match="no version yet"):
            await explain_and_score(explainer, search, scorer=scorer, reference="unfrozen")
        await scorer.append_activations("unfrozen", "s", np.random.default_rng(0).random((9, 2), np.float32))
        await scorer.freeze_reference("unfrozen")
        with pytest.raises(InvalidArgument, match="at least 2 rows"):
            await explain_and_score(explainer, single, scorer=scorer, reference="unfrozen")
        with pytest.raises(InvalidArgument, match=r"is of fc3 of tiny .* the search is of fc2"):
            await explain_and_score(explainer, other, scorer=scorer, reference="unfrozen")
        run = await explain_and_score(explainer, search, scorer=scorer, reference="unfrozen/versions/1")
        assert run.scoring is not None
        assert run.scoring.scored.score.dimension_count == 1
        whole = await explain_and_score(explainer, search, scorer=scorer, reference="unfrozen", whole_layer=True)
        assert whole.scoring is not None
        assert whole.scoring.scored.score.dimension_count == 2
        assert run.meaning == "vocal"
