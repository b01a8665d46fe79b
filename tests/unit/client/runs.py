"""A run as the clients return it, made of numbers small enough to find again in files and pages."""

import struct
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from earwitness.client.output import Run, Scoring
from earwitness.client.values import (
    Explanation,
    Layer,
    Model,
    Objective,
    Reference,
    ReferenceIdentity,
    ReferenceVersion,
    Score,
    ScoredBatch,
    SearchResult,
    SearchSummary,
    Selection,
    Sense,
    Settings,
    Trajectory,
    UnitLabel,
)

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
WEIGHTS = "ab" * 32
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)  # one transparent pixel
WAV = (
    struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 436, b"WAVE", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16, b"data", 400)
    + (np.sin(np.arange(200) / 3) * 9000).astype("<i2").tobytes()
)  # 25 ms of a tone at 8 kHz
MODEL = Model(
    name="svd-<r1>",
    layers=(Layer("fc8", "dense", 3, 0), Layer("fc9", "output", 2, 3)),
    labels=(UnitLabel(0, "vocal", "non-vocal"),),
    latent_size=4,
    sample_rate_hz=8000,
    band_count=2,
    frame_count=3,
    feature_profile="log-mel-2-test@1",
    features={"name": "log-mel-2-test@1"},
    weights_sha256=WEIGHTS,
    training_data="songs & <noise>",
)


def score(distance: float = 8.0, **changes: object) -> Score:
    values = {
        "distance": distance, "mean_term": 7.0, "covariance_term": 1.0, "row_count": 3, "reference_row_count": 50,
        "dimension_count": 2, "rank": 2, "rank_deficient": False, "interval_low": 5.0, "interval_high": 11.0,
        "noise_floor": 2.0, "noise_floor_high": 4.0, "outside_range_ratio": 0.5,
    }  # fmt: skip
    return Score(**(values | changes))  # type: ignore[arg-type]


def explanation(index: int, sense: Sense = "maximise", steps: int = 5) -> Explanation:
    rng = np.random.default_rng(index)
    curves = rng.standard_normal((3, steps)).astype(np.float32)
    return Explanation(
        row_index=index,
        seed=100 + index,
        objective=Objective("fc9", 0, sense),
        settings=Settings("adam", 0.01, 0.001, steps, 0.0),
        activation=1.5 + index,
        best_step=steps,
        latent=rng.standard_normal(4).astype(np.float32),
        spectrogram=rng.standard_normal((2, 3)).astype(np.float32),
        layer_activations=np.array([1.5 + index, -1], np.float32),
        audio_wav=WAV,
        audio_gain=0.5,
        picture_png=PNG,
        trajectory=Trajectory(*curves),
    )


def run(count: int = 3, sense: Sense = "maximise", *, scored: bool = True, steps: int = 5) -> Run:
    version = ReferenceVersion("references/top50/versions/2", 400, 50, NOW, 1.0, 3.0)
    identity = ReferenceIdentity(MODEL.name, WEIGHTS, "fc9", 2, MODEL.feature_profile)
    reference = Reference("top50", identity, Selection("top", 0, 50), "a & b", 400, 7, (version,), "etag", NOW)
    scoring = Scoring(reference, None, ScoredBatch(score(row_count=count), version))
    result = SearchResult(
        tuple(explanation(index, sense, steps) for index in range(count)),
        SearchSummary("completed", count * steps, 0.25, WEIGHTS, "onnxruntime in process"),
    )
    return Run(MODEL, Objective("fc9", 0, sense), result, scoring if scored else None, NOW)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}
