"""The atlas on a real Triton: what it says is what the models say in this process."""

import json
from pathlib import Path

import numpy as np
import pytest

from earwitness.atlas import Place, Request, make_atlas
from earwitness.atlas.executing import threads
from earwitness.client import Model
from tests.e2e.conftest import RunningTriton
from tests.helpers.tiny_bundle import LATENT
from tests.integration.cli.served import write_recording


def _model(triton: RunningTriton) -> Model:
    bundle = triton.bundle.metadata
    bands, frames = bundle.spectrogram_shape
    return Model(
        name=bundle.name,
        layers=bundle.layers,
        labels=bundle.labels,
        latent_size=bundle.latent_size,
        sample_rate_hz=bundle.sample_rate_hz,
        band_count=bands,
        frame_count=frames,
        feature_profile=str(bundle.features["name"]),
        features=bundle.features,
        weights_sha256=bundle.weights_sha256,
        training_data=bundle.training_data,
    )


def test_an_atlas_by_triton(triton: RunningTriton, tmp_path: Path) -> None:
    recordings = [write_recording(tmp_path / f"r{seed}.wav", 8, seed) for seed in range(2)]
    request = Request(count=3, excerpt_count=2, draws=300, oversampling=1)
    with threads(2) as workers:
        place = Place("tiny", triton=triton.grpc_url)
        make_atlas(place, _model(triton), ["fc2"], [], recordings, tmp_path / "out", workers, request)
        again = make_atlas(place, _model(triton), ["fc2"], [], recordings, tmp_path / "again", workers, request)
    assert len(again.units) == 5
    first, second = ((tmp_path / name / "atlas.json").read_bytes() for name in ("out", "again"))
    assert first == second
    latents = np.stack([np.random.default_rng(seed).standard_normal(LATENT).astype(np.float32) for seed in range(300)])
    drawn = triton.bundle.layers(triton.bundle.spectrogram(latents))["fc2"]
    for unit, report in enumerate(json.loads(first)["units"]):
        up, down = ([each["activation"] for each in side["explanations"]] for side in report["sides"])
        ordered = np.sort(drawn[:, unit])
        assert up == pytest.approx(ordered[::-1][:3], abs=1e-5)
        assert down == pytest.approx(ordered[:3], abs=1e-5)
