from pathlib import Path

import numpy as np
import pytest
import soundfile

from earwitness.training.judges import OmniVadJudge, judge_explanations, separation

RATE_HZ = 22_050


def test_separation_counts_pairs_and_halves_ties() -> None:
    assert separation([3.0, 2.0], [1.0, 2.0]) == pytest.approx(3.5 / 4)


def test_a_plain_tone_and_noise_are_not_vocal() -> None:
    judge = OmniVadJudge()
    time = np.arange(int(1.6 * RATE_HZ)) / RATE_HZ
    tone = np.sin(2 * np.pi * 440 * time).astype(np.float32)
    noise = np.random.default_rng(0).standard_normal(len(time)).astype(np.float32)
    assert judge.vocal_probability(tone, RATE_HZ) < 0.3
    assert judge.vocal_probability(noise, RATE_HZ) < 0.3


def test_level_does_not_matter() -> None:
    judge = OmniVadJudge()
    sound = np.random.default_rng(1).standard_normal(RATE_HZ).astype(np.float32)
    assert judge.vocal_probability(sound, RATE_HZ) == pytest.approx(
        judge.vocal_probability(sound * 1e-3, RATE_HZ), abs=0.02
    )


def test_folders_are_judged_and_an_empty_one_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    for folder in ("high", "low"):
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / "000.wav", 0.1 * rng.standard_normal(RATE_HZ), RATE_HZ)
    judgement = judge_explanations(tmp_path / "high", tmp_path / "low")
    assert (judgement.maximised_count, judgement.minimised_count) == (1, 1)
    assert judgement.auc in (0.0, 0.5, 1.0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no WAV files"):
        judge_explanations(tmp_path / "high", tmp_path / "empty")
