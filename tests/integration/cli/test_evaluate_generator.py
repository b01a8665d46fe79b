"""`earwitness evaluate generator` of a served model: real graphs, real recordings."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from earwitness.evidence.generator import GeneratorReport, Likeness, _coverage, _halved
from tests.helpers.tiny_bundle import write_tiny_bundle
from tests.integration.cli.conftest import Run
from tests.integration.cli.served import write_recording


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    folder = tmp_path_factory.mktemp("generator")
    tiny = write_tiny_bundle(folder / "models")
    for seed in range(4):
        write_recording(folder / f"songs/{seed}.wav", 14, seed)
    return ("evaluate", "generator", "tiny", "-r", folder / "songs", "--model-repository", tiny.repository)


def test_samples_stand_between_real_audio_and_noise_and_are_pictured(
    run: Run, asked: tuple[object, ...], tmp_path: Path
) -> None:
    picture = tmp_path / "samples.png"
    document = run(*asked, "--excerpts", 25, "--picture", picture, "--json").json()
    assert (document["model"], document["layer"], document["recording_count"]) == ("tiny", "fc2", 4)
    assert document["row_count"] == 25
    assert 0 <= document["other_real_audio"]["distance"] < document["samples"]["distance"]
    assert document["samples"]["coverage"] <= document["other_real_audio"]["coverage"]
    assert document["verdict"] in ("good", "usable", "poor")
    with Image.open(picture) as drawn:
        assert drawn.size == (2048, 512)
    again = run(*asked, "--excerpts", 25, "--json").json()
    assert {**document, "picture": None} == again, "the seed decides"
    said = run(*asked, "--excerpts", 25).stdout
    assert "of the way from real audio to noise" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--layer", "fc9"), "got 'fc9'; tiny has conv1, fc2, fc3"),
        (("--picture", "/nowhere/samples.png"), "there is no folder /nowhere"),
        (("--classifier", "best.pt"), "are for a served model"),
    ],
)
def test_what_cannot_be_done_is_refused(
    run: Run, asked: tuple[object, ...], words: tuple[object, ...], said: str
) -> None:
    outcome = run(*asked, *words)
    assert outcome.exit_code != 0
    assert said in outcome.stderr


def test_too_little_audio_is_refused_with_what_is_needed(run: Run, asked: tuple[object, ...], tmp_path: Path) -> None:
    write_recording(tmp_path / "short.wav", 1, 0)
    outcome = run(*asked[:3], "-r", tmp_path, *asked[5:])
    assert outcome.exit_code != 0
    assert "give halves of 0 and 1 excerpts; 20 are needed in each" in outcome.stderr


def test_without_recordings_a_checkpoint_is_meant(run: Run, asked: tuple[object, ...]) -> None:
    outcome = run(*asked[:3])
    assert outcome.exit_code != 0
    assert "--recordings: is needed of a served model" in outcome.stderr


def test_halves_are_of_whole_recordings_and_about_as_large() -> None:
    recordings = [np.zeros((count, 1, 1), np.float32) for count in (50, 30, 20, 10)]
    halves = [[len(each) for each in half] for half in _halved(recordings)]
    assert halves == [[50, 10], [30, 20]] or halves == [[50], [30, 20, 10]]
    first, second = _halved(recordings[:1])
    assert (len(first[0]), len(second[0])) == (25, 25)


def test_coverage_sees_samples_that_are_all_alike() -> None:
    rng = np.random.default_rng(0)
    real, other = (rng.standard_normal((200, 4)).astype(np.float32) for _ in range(2))
    assert _coverage(other, real) > 0.85
    assert _coverage(np.repeat(other[:2], 100, axis=0), real) < 0.2


@pytest.mark.parametrize(
    ("distance", "coverage", "verdict"),
    [(1.1, 0.9, "good"), (1.1, 0.3, "usable"), (1.1, 0.1, "poor"), (20.0, 0.9, "usable"), (80.0, 0.9, "poor")],
)
def test_a_verdict_needs_both_nearness_and_coverage(distance: float, coverage: float, verdict: str) -> None:
    some = np.zeros((1, 1, 1), np.float32)
    likenesses = (Likeness(distance, coverage), Likeness(1.0, 0.9), Likeness(100.0, 0.0))
    report = GeneratorReport(
        "own", "fc8", 4, 900, 300, *likenesses, diversity=0.5, sample_pictured=some, real_pictured=some
    )
    assert report.verdict == verdict
    assert bool(report.advice) == (verdict != "good")
