"""The real excerpts beside a sweep: found by the served classifier, cut from the recordings."""

import io
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
import soundfile

from earwitness.client.excerpts import top_excerpts
from earwitness.client.references import bundle_of, layer_activations
from earwitness.client.values import Objective, Sense
from earwitness.errors import InvalidArgument
from earwitness.features import Flaw, load_audio
from earwitness.inference.local import LocalBackend
from tests.helpers.tiny_bundle import PROFILE, write_tiny_bundle
from tests.integration.cli.served import write_recording


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("audio")
    lengths = (6, 0.5, 9)  # the second holds no excerpt
    return [write_recording(folder / f"r{seed}.wav", length, seed) for seed, length in enumerate(lengths)]


@pytest_asyncio.fixture
async def backend(tmp_path: Path) -> AsyncIterator[LocalBackend]:
    backend = LocalBackend(write_tiny_bundle(tmp_path / "models").repository, threads=1)
    yield backend
    await backend.close()


@pytest.mark.parametrize("sense", ["maximise", "minimise"])
@pytest.mark.parametrize("direction", [None, {0: 1.0, 1: -2.0}])
async def test_the_most_extreme_excerpts_that_do_not_overlap(
    backend: LocalBackend, recordings: list[Path], sense: Sense, direction: dict[int, float] | None
) -> None:
    objective = Objective("fc3", 1 if direction is None else None, sense, direction)
    seen: list[tuple[int, int]] = []
    other = Objective("fc2", 3)
    found, alone = await top_excerpts(
        backend, model="tiny", objectives=[objective, other], recordings=recordings, count=4,
        on_progress=lambda done, count: seen.append((done, count)),
    )  # fmt: skip
    (expected,) = await top_excerpts(backend, model="tiny", objectives=[other], recordings=recordings, count=4)
    assert [(each.source, each.activation) for each in alone] == [(each.source, each.activation) for each in expected]
    assert seen == [(1, 3), (2, 3), (3, 3)]
    sign = 1 if sense == "maximise" else -1
    values = [sign * each.activation for each in found]
    assert values == sorted(values, reverse=True)
    hop = PROFILE.excerpt_frames // 2
    bundle, every = await bundle_of(backend, "tiny"), []
    for recording in recordings[::2]:
        excerpts = PROFILE.excerpts(PROFILE.spectrogram(load_audio(recording, PROFILE.sample_rate_hz)), hop)
        rows = await layer_activations(backend, bundle, "fc3", excerpts)
        value = rows[:, 1] if direction is None else rows[:, 0] - 2 * rows[:, 1]
        every += [(sign * float(each), recording.name, at * hop) for at, each in enumerate(value)]
    expected: list[tuple[float, str, int]] = []
    for each in sorted(every, reverse=True):
        if all(name != each[1] or abs(frame - each[2]) >= PROFILE.excerpt_frames for _, name, frame in expected):
            expected.append(each)
    assert values == pytest.approx([value for value, _, _ in expected[:4]], rel=1e-5)
    for one, (_, name, frame) in zip(found, expected, strict=False):
        assert one.source == f"{name}, {frame * PROFILE.hop_length / PROFILE.sample_rate_hz:.1f} s"
        assert one.spectrogram.shape == PROFILE.excerpt_shape


async def test_sounds_are_those_of_the_recordings(backend: LocalBackend, recordings: list[Path]) -> None:
    objectives = [Objective("fc3", 0)]
    (found,) = await top_excerpts(backend, model="tiny", objectives=objectives, recordings=recordings, count=2)
    for each in found:
        assert each.audio_wav is not None
        assert each.picture_png is not None
        assert each.picture_png[1:4] == b"PNG"
        waveform, rate = soundfile.read(io.BytesIO(each.audio_wav), dtype="float32")
        assert (rate, len(waveform)) == (PROFILE.sample_rate_hz, PROFILE.sample_count(PROFILE.excerpt_frames))
        assert np.abs(waveform).max() == pytest.approx(0.9, abs=1e-3)
        again = PROFILE.spectrogram(waveform).T
        loudest = each.spectrogram > each.spectrogram.max() - 3
        shift = again[loudest] - each.spectrogram[loudest]
        assert np.ptp(shift) < 0.1  # the same but for its gain


async def test_recordings_that_are_cut_or_unreadable_are_told(
    backend: LocalBackend, recordings: list[Path], tmp_path: Path
) -> None:
    text, cut = tmp_path / "text.wav", tmp_path / "cut.wav"
    text.write_text("not audio")
    content = recordings[2].read_bytes()
    cut.write_bytes(content[: len(content) * 3 // 4])
    flaws: list[Flaw] = []
    objectives = [Objective("fc3", 0)]
    (found,) = await top_excerpts(
        backend, model="tiny", objectives=objectives, recordings=[text, cut], count=2, on_flaw=flaws.append
    )
    assert len(found) == 2
    assert [(flaw.path, flaw.kind) for flaw in flaws] == [(text, "left-out"), (cut, "cut-off")]
    with pytest.raises(InvalidArgument, match=r"recordings: none can be used: .*text\.wav: cannot be read as audio"):
        await top_excerpts(backend, model="tiny", objectives=objectives, recordings=[text], count=2)


async def test_a_short_utterance_is_repeated_where_the_whole_is_judged(tmp_path: Path) -> None:
    """As a detector of replayed speech hears it, so that its sound is what was judged."""
    short = write_recording(tmp_path / "short.wav", 0.5, 3)
    shipped = LocalBackend(Path(__file__).parents[3] / "model_repository", threads=1)
    try:
        ((excerpt,),) = await top_excerpts(
            shipped, model="replay-bulbul", objectives=[Objective("fc10", 0)], recordings=[short], count=3
        )
    finally:
        await shipped.close()
    assert excerpt.spectrogram.shape == (129, 100)
    assert excerpt.audio_wav is not None
    waveform, rate = soundfile.read(io.BytesIO(excerpt.audio_wav), dtype="float32")
    count = len(load_audio(short, 16_000))
    assert (rate, len(waveform) > count) == (16_000, True)
    np.testing.assert_array_equal(waveform[count:], waveform[: len(waveform) - count])


async def test_few_recordings_give_few_and_wrong_names_are_said(backend: LocalBackend, recordings: list[Path]) -> None:
    objectives = [Objective("fc3", 0)]
    (many,) = await top_excerpts(backend, model="tiny", objectives=objectives, recordings=recordings[:1], count=50)
    assert 2 <= len(many) <= 6
    (none,) = await top_excerpts(backend, model="tiny", objectives=objectives, recordings=recordings[1:2], count=3)
    assert none == ()
    for changed, said in (
        ({"model": "none"}, "tiny"),
        ({"objectives": [Objective("fc9", 0)]}, "fc3"),
        ({"objectives": [Objective("fc3", 2)]}, "units 0 to 1"),
        ({"count": 0}, "at least 1"),
    ):
        arguments = {"model": "tiny", "objectives": objectives, "recordings": recordings, "count": 2, **changed}
        with pytest.raises(InvalidArgument, match=said):
            await top_excerpts(backend, **arguments)
