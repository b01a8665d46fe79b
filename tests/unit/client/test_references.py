"""Recordings are found, cut, and named by their contents."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earwitness.client.kept_layers import MAX_ROW_UNITS, chosen_layers, default_layers
from earwitness.client.references import (
    _excerpts,
    bundle_of,
    find_recordings,
    identity_of,
    judges_whole_recordings,
    layer_activations,
    layers_activations,
)
from earwitness.client.values import KeptLayer, Selection
from earwitness.errors import InvalidArgument
from earwitness.features import Flaw, cut_or_repeat, profile_from_dict, write_wav
from earwitness.inference.local import LocalBackend
from earwitness.training.replay.spectrograms import stored_spectrograms
from earwitness.training.replay.utterances import Utterance
from tests.helpers.recordings import write_audio
from tests.helpers.spoofing import spoken
from tests.helpers.tiny_bundle import PROFILE, write_tiny_bundle

BANDS, FRAMES = PROFILE.excerpt_shape


def noise(path: Path, frames: int, seed: int = 0) -> Path:
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, PROFILE.sample_count(frames)).astype(np.float32)
    write_wav(path, samples, PROFILE.sample_rate_hz)
    return path


def test_folders_are_searched_and_what_cannot_be_used_is_told(tmp_path: Path) -> None:
    noise(tmp_path / "b.wav", 40)
    noise(tmp_path / "a.WAV", 40, seed=1)
    (tmp_path / "deep").mkdir()
    soundfile.write(tmp_path / "deep/c.aiff", np.ones(100), 8_000)
    (tmp_path / "d.flac").touch()
    (tmp_path / "e.wav").symlink_to(tmp_path / "gone.wav")
    flaws: list[Flaw] = []
    found = find_recordings([tmp_path], flaws.append)
    assert [path.name for path in found] == ["a.WAV", "b.wav", "c.aiff"]
    assert [(flaw.path.name, flaw.kind) for flaw in flaws] == [("e.wav", "left-out"), ("d.flac", "left-out")]
    with pytest.raises(InvalidArgument, match=r"audio: --strict: .*e\.wav: is a link .*d\.flac: cannot be read"):
        find_recordings([tmp_path], flaws.append, strict=True)
    with pytest.raises(InvalidArgument, match=r"d\.flac: cannot be read as audio \(it is empty"):
        find_recordings([tmp_path / "d.flac"], flaws.append)


def test_missing_and_empty_paths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="nowhere does not exist"):
        find_recordings([tmp_path / "nowhere"])
    with pytest.raises(InvalidArgument, match="no audio files"):
        find_recordings([tmp_path])


def test_shard_is_named_by_contents_and_cut(tmp_path: Path) -> None:
    first = noise(tmp_path / "first.wav", 40)
    copy = Path(shutil.copy(first, tmp_path / "copy.wav"))
    other = noise(tmp_path / "other.wav", 40, seed=1)
    names = [_excerpts(path, PROFILE, 6, repeated=False)[0] for path in (first, copy, other)]
    assert names[0] == names[1] != names[2]
    key = f"{PROFILE.name} hop 6 {hashlib.sha256(first.read_bytes()).hexdigest()}"
    assert names[0] == f"audio-{hashlib.sha256(key.encode()).hexdigest()}"  # references that are there have it so
    assert _excerpts(first, PROFILE, 5, repeated=False)[0] != names[0]


def test_excerpts_begin_every_hop(tmp_path: Path) -> None:
    path = noise(tmp_path / "a.wav", FRAMES + 12)
    _, excerpts = _excerpts(path, PROFILE, 6, repeated=False)
    assert excerpts.shape == (3, BANDS, FRAMES)
    _, every = _excerpts(path, PROFILE, 1, repeated=False)
    np.testing.assert_array_equal(excerpts, every[::6])
    assert len(every) == 13


@pytest.mark.parametrize("frames", [1, FRAMES - 1])
def test_too_short_recording_has_no_excerpt(tmp_path: Path, frames: int) -> None:
    _, excerpts = _excerpts(noise(tmp_path / "a.wav", frames), PROFILE, 6, repeated=False)
    assert excerpts.shape == (0, BANDS, FRAMES)


async def test_a_short_utterance_is_what_the_detector_hears_of_it(tmp_path: Path) -> None:
    shipped = LocalBackend(Path(__file__).parents[3] / "model_repository")
    try:
        bundles = {bundle.name: bundle for bundle in await shipped.bundles()}
    finally:
        await shipped.close()
    whole = [name for name, each in bundles.items() if judges_whole_recordings(each)]
    assert sorted(whole) == ["replay-bulbul", "replay-compact"]
    shape, profile = bundles["replay-bulbul"].spectrogram_shape, profile_from_dict(bundles["replay-bulbul"].features)
    for seconds in (0.004, 0.4, 0.98):
        path = write_audio(tmp_path / f"{seconds}.wav", spoken(0, seconds), 16_000)
        _, excerpts = _excerpts(path, profile, 50, repeated=True)
        data = stored_spectrograms([Utterance(path.stem, path, True, "-")], profile, tmp_path)
        np.testing.assert_allclose(excerpts, [cut_or_repeat(data.spectrogram(0), 100)], atol=0.01)
    nothing = write_audio(tmp_path / "one.wav", spoken(0)[:1], 44_100)
    assert _excerpts(nothing, profile, 50, repeated=True)[1].shape == (0, *shape)


async def test_activations_are_the_classifiers(tmp_path: Path) -> None:
    tiny = write_tiny_bundle(tmp_path)
    backend = LocalBackend(tmp_path, threads=1)
    try:
        bundle = await bundle_of(backend, "tiny")
        excerpts = np.random.default_rng(0).standard_normal((130, BANDS, FRAMES)).astype(np.float32)
        found = await layer_activations(backend, bundle, "fc2", excerpts)
        np.testing.assert_allclose(found, tiny.layers(excerpts)["fc2"], rtol=1e-4, atol=1e-5)
        both = await layers_activations(backend, bundle, ["fc3", "fc2"], excerpts)
        np.testing.assert_array_equal(both[:, -found.shape[1] :], found)
        np.testing.assert_allclose(both, np.hstack([tiny.layers(excerpts)[each] for each in ("fc3", "fc2")]), atol=1e-4)
        with pytest.raises(InvalidArgument, match=r"got 'big'; .* serves tiny"):
            await bundle_of(backend, "big")
        with pytest.raises(InvalidArgument, match="got 'fc9'; tiny has conv1, fc2, fc3"):
            identity_of(bundle, "fc9")
    finally:
        await backend.close()


def test_what_rows_hold_is_chosen_by_name_in_the_models_order(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path).metadata
    layers = tuple(KeptLayer(each.name, each.unit_count) for each in bundle.layers)
    assert default_layers(bundle, Selection("top", 0, 9)) == layers
    assert default_layers(bundle, Selection()) == ()
    assert chosen_layers(bundle, "fc2", []) == chosen_layers(bundle, "fc2", ["fc2"]) == ()
    assert chosen_layers(bundle, "fc2", ["fc3", "conv1"]) == layers
    assert chosen_layers(bundle, "fc3", ["conv1", "conv1"]) == (layers[0], layers[2])
    with pytest.raises(InvalidArgument, match="keep_layers: got pool9; tiny has conv1, fc2, fc3"):
        chosen_layers(bundle, "fc2", ["conv1", "pool9"])
    wide = (replace(bundle.layers[0], unit_count=MAX_ROW_UNITS), *bundle.layers[1:])
    large = replace(bundle, layers=wide)
    assert default_layers(large, Selection("top", 0, 9)) == ()
    with pytest.raises(InvalidArgument, match=rf"have {MAX_ROW_UNITS + 2} units together; at most 4096: keep fewer"):
        chosen_layers(large, "fc3", ["conv1"])
