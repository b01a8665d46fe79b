"""Searches through a real server."""

import asyncio
import io
import json
import time
import urllib.request
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from prometheus_client.parser import text_string_to_metric_families

from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.features import Audio, FeatureProfile, profile_from_dict
from earwitness.rpc import tensors
from tests.helpers.tiny_bundle import LATENT, PROFILE, TinyBundle, write_tiny_bundle
from tests.integration.explainer.running import FC3_0, MODEL, Running, running, search, seeds

AUDIO, PICTURE, TRAJECTORY = pb.ARTEFACT_AUDIO, pb.ARTEFACT_PICTURE, pb.ARTEFACT_TRAJECTORY


def climbed(tiny: TinyBundle, seed: int, *, unit: int, sign: int, rate: float, prior: float, steps: int) -> np.ndarray:
    """Activations of all iterates of plain gradient steps, by the bundle's formulas in float64."""
    z = np.random.default_rng(seed).standard_normal(LATENT).astype(np.float32)[None].astype(np.float64)
    weights = np.zeros((1, tiny.metadata.unit_count))
    weights[0, tiny.metadata.output_layer.first_unit + unit] = sign
    curve = []
    for step in range(steps + 1):
        activation, _, gradient = tiny.search(z, weights, np.array([[prior]]))
        curve.append(sign * activation[0, 0])
        z = z + rate * (1 - step / steps) * gradient
    return np.array(curve)


async def test_lists_and_gets_models(explainer: Running) -> None:
    listed = await explainer.stub.ListModels(pb.ListModelsRequest())
    assert [model.name for model in listed.models] == [MODEL]
    assert listed.next_page_token == ""
    model = (await explainer.stub.GetModel(pb.GetModelRequest(name=MODEL))).model
    assert model == listed.models[0]
    metadata = explainer.tiny.metadata
    kinds = {"conv1": pb.LAYER_KIND_CONV, "fc2": pb.LAYER_KIND_DENSE, "fc3": pb.LAYER_KIND_OUTPUT}
    assert [(layer.name, layer.kind, layer.unit_count) for layer in model.layers] == [
        (layer.name, kinds[layer.name], layer.unit_count) for layer in metadata.layers
    ]
    assert [(label.unit, label.maximise, label.minimise) for label in model.labels] == [
        (0, "vocal", "non-vocal"),
        (1, "bright", "dark"),
    ]
    assert (model.latent_size, model.sample_rate_hz) == (LATENT, PROFILE.sample_rate_hz)
    assert (model.band_count, model.frame_count) == PROFILE.excerpt_shape
    assert model.feature_profile == PROFILE.name
    assert profile_from_dict(json.loads(model.features_json)) == PROFILE
    assert (model.weights_sha256, model.training_data) == (metadata.weights_sha256, metadata.training_data)


async def test_pages_through_models(tmp_path) -> None:
    names = ["a", "b", "c"]
    for name in names:
        bundle = write_tiny_bundle(tmp_path, name)
    async with running(bundle) as explainer:
        found, token = [], ""
        while True:
            page = await explainer.stub.ListModels(pb.ListModelsRequest(page_size=2, page_token=token))
            found += [model.name for model in page.models]
            token = page.next_page_token
            if not token:
                break
        assert found == [f"models/{name}" for name in names]


async def test_maximises_and_minimises_as_the_formulas_say(explainer: Running) -> None:
    rows = [
        pb.Row(seed=seed, objective=pb.Objective(layer="fc3", unit=unit, sense=sense))
        for seed, (unit, sense) in enumerate((unit, sense) for unit in (0, 1) for sense in (1, 2))
    ]
    how = {"optimiser": pb.OPTIMISER_SGD, "learning_rate": 0.5, "prior_weight": 0.01, "steps": 30}
    answer = await explainer.explain(search(*rows, objective=None, **how), TRAJECTORY)
    assert [each.row_index for each in answer.explanations] == [0, 1, 2, 3]
    for row, found in zip(rows, answer.explanations, strict=True):
        sign = 1 if row.objective.sense == pb.SENSE_MAXIMISE else -1
        unit = row.objective.unit
        curve = climbed(explainer.tiny, row.seed, unit=unit, sign=sign, rate=0.5, prior=0.01, steps=30)
        np.testing.assert_allclose(found.trajectory.activations, curve, rtol=1e-3, atol=1e-4)
        assert found.activation == pytest.approx((sign * curve).max() * sign, rel=1e-3)
        assert found.activation == found.trajectory.activations[found.best_step]
        assert len(found.trajectory.latent_norms) == len(found.trajectory.gradient_norms) == 31


async def test_an_explanation_fits_together(explainer: Running) -> None:
    answer = await explainer.explain(search(*seeds(3, first=2**40), learning_rate=0.1), AUDIO, PICTURE, TRAJECTORY)
    tiny = explainer.tiny
    for index, found in enumerate(answer.explanations):
        latent = tensors.decode(found.latent, "latent", rank=1)
        spectrogram = tensors.decode(found.spectrogram, "spectrogram", rank=2)
        activations = tensors.decode(found.layer_activations, "layer_activations", rank=1)
        assert latent.dtype == spectrogram.dtype == activations.dtype == np.float32
        np.testing.assert_allclose(spectrogram, tiny.spectrogram(latent[None])[0], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(activations, tiny.layers(spectrogram[None])["fc3"][0], rtol=1e-4, atol=1e-4)
        assert found.activation == pytest.approx(activations[0], rel=1e-4, abs=1e-5)
        assert found.trajectory.latent_norms[found.best_step] == pytest.approx(np.linalg.norm(latent), rel=1e-5)
        assert (found.row_index, found.seed, found.objective) == (index, 2**40 + index, FC3_0)
        assert not found.HasField("diverged_step")
        info = soundfile.info(io.BytesIO(found.audio_wav))
        assert (info.samplerate, info.channels, info.subtype) == (PROFILE.sample_rate_hz, 1, "PCM_16")
        assert info.frames == PROFILE.sample_count(PROFILE.excerpt_frames)
        assert found.audio_gain > 0
        assert found.picture_png.startswith(b"\x89PNG")
    summary = answer.summary
    assert summary.stopped_by == pb.STOPPED_BY_COMPLETED
    assert summary.row_step_count == 3 * 20
    assert summary.search_duration.ToTimedelta().total_seconds() > 0
    assert summary.weights_sha256 == tiny.metadata.weights_sha256
    assert summary.backend.startswith("onnxruntime")


async def test_nothing_more_than_asked_for(explainer: Running) -> None:
    (found,) = (await explainer.explain(search())).explanations
    assert not found.audio_wav
    assert not found.picture_png
    assert not found.HasField("trajectory")
    assert found.latent.shape == [LATENT]


async def test_defaults_are_those_of_the_proto(explainer: Running) -> None:
    message = pb.Search(model=MODEL, objective=FC3_0, rows=[pb.Row(seed=1)])
    (found,) = (await explainer.explain(message)).explanations
    expected = pb.Settings(
        optimiser=pb.OPTIMISER_ADAM, learning_rate=0.01, prior_weight=0.001, steps=100, weight_decay=0.0
    )
    assert found.settings == expected
    # What was used can be asked for again and gives the same.
    message.settings.CopyFrom(found.settings)
    assert (await explainer.explain(message)).explanations[0] == found


async def test_weight_decay_takes_the_place_of_the_prior(explainer: Running) -> None:
    rows = [pb.Row(seed=1, settings=pb.Settings(weight_decay=decay, steps=50)) for decay in (0.0, 0.2)]
    kept, decayed = (await explainer.explain(search(*rows), TRAJECTORY)).explanations
    assert kept.settings.prior_weight == decayed.settings.prior_weight == 0
    assert decayed.settings.weight_decay == np.float32(0.2)
    assert decayed.trajectory.latent_norms[-1] < 0.1 * kept.trajectory.latent_norms[-1]


async def test_rows_may_differ_in_everything(explainer: Running) -> None:
    direction = pb.Direction(units=[4, 1], weights=[0.5, -2])
    conv = pb.Objective(layer="conv1", unit=2, sense=pb.SENSE_MINIMISE)
    dense = pb.Objective(layer="fc2", direction=direction, sense=pb.SENSE_MAXIMISE)
    rows = [
        pb.Row(seed=5),
        pb.Row(seed=5, objective=conv, settings=pb.Settings(steps=7)),
        pb.Row(seed=5, objective=dense, settings=pb.Settings(optimiser=pb.OPTIMISER_SGD, steps=33)),
    ]
    answer = await explainer.explain(search(*rows), TRAJECTORY)
    own, low, mixed = answer.explanations
    assert (own.objective, low.objective, mixed.objective) == (FC3_0, conv, dense)
    assert [len(each.trajectory.activations) for each in answer.explanations] == [21, 8, 34]
    assert [each.layer_activations.shape[0] for each in answer.explanations] == [2, 3, 5]
    assert low.activation == min(low.trajectory.activations)
    units = tensors.decode(mixed.layer_activations, "layer_activations")
    assert mixed.activation == pytest.approx(0.5 * units[4] - 2 * units[1], rel=1e-4, abs=1e-5)
    assert answer.summary.row_step_count == 20 + 7 + 33


async def test_a_row_is_the_same_alone_and_among_others(explainer: Running) -> None:
    rows = seeds(50)
    together = (await explainer.explain(search(*rows, steps=60))).explanations
    for index in (0, 13, 49):
        (alone,) = (await explainer.explain(search(rows[index], steps=60))).explanations
        ours, theirs = (tensors.decode(each.latent, "latent") for each in (alone, together[index]))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


async def test_the_same_request_gives_the_same_answer(explainer: Running) -> None:
    first, second = [await explainer.explain(search(*seeds(4)), AUDIO, PICTURE, TRAJECTORY) for _ in range(2)]
    assert list(first.explanations) == list(second.explanations)


async def test_more_rows_than_a_call_takes(tiny: TinyBundle) -> None:
    async with running(tiny, max_batch=4) as explainer:
        split = (await explainer.explain(search(*seeds(10)))).explanations
    async with running(tiny) as explainer:
        whole = (await explainer.explain(search(*seeds(10)))).explanations
    for ours, theirs in zip(split, whole, strict=True):
        assert ours.activation == pytest.approx(theirs.activation, rel=1e-5)


async def test_a_stream_tells_progress_then_explanations_then_the_summary(explainer: Running) -> None:
    explainer.backend.step_s = 0.01
    events = await explainer.stream(search(*seeds(3)), TRAJECTORY)
    kinds = [event.WhichOneof("event") for event in events]
    count = kinds.count("progress")
    assert kinds == ["progress"] * count + ["explanation"] * 3 + ["summary"]
    assert 3 <= count <= 21
    progress = [event.progress for event in events[:count]]
    steps = [each.step for each in progress]
    assert steps == sorted(set(steps))
    assert steps[-1] == 20
    assert all(each.step_count == 20 and len(each.best_activations) == 3 for each in progress)
    for earlier, later in pairwise(progress):
        assert (np.array(later.best_activations) >= np.array(earlier.best_activations)).all()
    assert progress[0].time_left.ToTimedelta().total_seconds() > 0
    explanations = [event.explanation for event in events[count:-1]]
    assert [each.row_index for each in explanations] == [0, 1, 2]
    assert [each.activation for each in explanations] == list(progress[-1].best_activations)
    explainer.backend.step_s = 0
    unary = await explainer.explain(search(*seeds(3)), TRAJECTORY)
    assert list(unary.explanations) == explanations


async def test_near_the_deadline_the_best_so_far_comes_back(explainer: Running) -> None:
    await explainer.explain(search())  # probes the model
    explainer.backend.step_s = 0.02
    for call in (explainer.explain, explainer.stream):
        answer = await call(search(*seeds(2), steps=10_000), TRAJECTORY, timeout_s=3)  # later, the call would fail
        streamed = isinstance(answer, list)
        summary = answer[-1].summary if streamed else answer.summary
        found = [event.explanation for event in answer[-3:-1]] if streamed else answer.explanations
        assert summary.stopped_by == pb.STOPPED_BY_DEADLINE
        done = len(found[0].trajectory.activations) - 1
        assert 2 <= done < 150
        assert summary.row_step_count == 2 * done
        assert found[1].activation == max(found[1].trajectory.activations)
        assert found[0].settings.steps == 10_000


async def test_what_was_searched_comes_back_though_there_is_no_time_to_render_it(
    explainer: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(profile: FeatureProfile, spectrogram: np.ndarray) -> Audio:
        time.sleep(2)
        return Audio(b"RIFF", 1.0)

    monkeypatch.setattr("earwitness.explainer.render.render_audio", slowly)
    await explainer.explain(search())  # probes the model
    for call in (explainer.explain, explainer.stream):
        answer = await call(search(*seeds(5)), AUDIO, timeout_s=3)
        streamed = isinstance(answer, list)
        summary = answer[-1].summary if streamed else answer.summary
        found = [event.explanation for event in answer[-6:-1]] if streamed else answer.explanations
        assert summary.stopped_by == pb.STOPPED_BY_DEADLINE
        assert summary.row_step_count == 5 * 20
        assert [each.seed for each in found] == [0, 1, 2, 3, 4]
        assert all(each.spectrogram.data for each in found)
        # Which rows is the threads' affair: those of the call before may still be at work when this one begins.
        assert sum(bool(each.audio_wav) for each in found) <= 2, "two threads make one each"


async def test_a_diverging_row_says_so(explainer: Running) -> None:
    # Plain steps with a prior this heavy overshoot the origin further each time.
    wild = pb.Settings(optimiser=pb.OPTIMISER_SGD, learning_rate=10, prior_weight=1000, steps=200)
    answer = await explainer.explain(search(pb.Row(seed=0, settings=wild), pb.Row(seed=1)), AUDIO, TRAJECTORY)
    diverged, calm = answer.explanations
    assert diverged.HasField("diverged_step")
    assert len(diverged.trajectory.activations) == diverged.diverged_step < 200
    assert np.isfinite(diverged.trajectory.gradient_norms).all()
    assert not calm.HasField("diverged_step")
    assert len(calm.trajectory.activations) == 21


def fetch(port: int | None) -> str:
    """The metrics page."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        return str(answer.read().decode())


async def test_metrics_count_steps(tiny: TinyBundle) -> None:
    async with running(tiny, metrics_port=0) as explainer:
        for unknown in ("models/stranger", "models/../stranger", "stranger"):
            await explainer.refusal(search(model=unknown))
        await explainer.explain(search(*seeds(3)))
        page = await asyncio.to_thread(fetch, explainer.server.metrics_port)
    assert "stranger" not in page, "names that callers make up are no labels"
    samples = {
        (sample.name, sample.labels.get("role", sample.labels.get("access", ""))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name.startswith(("explainer_", "earwitness_store_"))
    }
    assert samples["explainer_steps_total", ""] == 21
    assert samples["explainer_row_steps_total", ""] == 63
    assert samples["explainer_step_seconds_count", ""] == 21
    assert samples["explainer_gradient_zero_total", ""] == 0
    assert samples["explainer_inference_seconds_count", "search"] == 21 + 2  # and the probe's two
    assert samples["explainer_inference_seconds_count", "generator"] == 1 + 1  # and the probe's one
    assert samples["explainer_inference_seconds_count", "classifier"] == 1 + 1  # and the probe's one
    assert samples["explainer_rows_in_flight", ""] == 0
    assert samples["explainer_searches_in_flight", ""] == 0
    assert samples["explainer_queue_depth", ""] == 0
    assert samples["explainer_best_activation_count", ""] == 3
    assert samples["explainer_unfinished_sweeps", ""] == 0
    assert samples["earwitness_store_seconds_count", "read"] > 0
    assert samples["earwitness_store_failures_total", "write"] == 0
    assert not [name for name, _ in samples if name.startswith("explainer_inference_failures")]
