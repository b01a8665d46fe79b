"""Imported corpora hold what the audio and the labels say, come whole or not at all, and are known by their content."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from earwitness.features import get_profile, load_audio
from earwitness.training.corpus import SPLITS, DatasetError, open_corpus
from earwitness.training.datasets import BrokenData, DataConfig, Imported, import_data, load_recordings
from earwitness.training.datasets.importing import KEPT
from tests.helpers.recordings import SECONDS, SUNG_S, label_lines, sound, write_audio, write_jamendo

PROFILE = get_profile("log-mel-80@1")


@pytest.fixture(scope="module")
def jamendo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_jamendo(tmp_path_factory.mktemp("data") / "jamendo")


@pytest.fixture
def changed(jamendo: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(jamendo, tmp_path / "changed"))


def imported(path: Path, out: Path, config: DataConfig | None = None, **options: object) -> Imported:
    return import_data(path, out, PROFILE, config or DataConfig(), **options)  # type: ignore[arg-type]


def test_frames_and_labels_are_those_of_the_files(jamendo: Path, tmp_path: Path) -> None:
    result = imported(jamendo, tmp_path / "corpus", source="tones, CC0")
    assert result.report is not None
    assert result.report.ok
    corpus = open_corpus(tmp_path / "corpus")
    assert corpus.manifest == result.corpus.manifest
    assert corpus.manifest["sources"] == ["tones, CC0"]
    assert corpus.manifest["left_out"] == []
    assert sorted(path.name for path in corpus.folder.iterdir()) == ["manifest.json", *sorted(SPLITS)]
    for split in SPLITS:
        data = corpus.open(split)
        assert corpus.manifest["splits"][split]["clips"] == len(data.clips) == 2
        for clip, facts in enumerate(each.facts for each in data.clips):
            (audio,) = (jamendo / "audio").glob(f"{facts['name']}.*")
            spectrogram = PROFILE.spectrogram(load_audio(audio, PROFILE.sample_rate_hz))
            assert np.abs(data.spectrogram(clip) - spectrogram).max() <= data.quantisation.step / 2 + 1e-5
            centres_s = (np.arange(len(spectrogram)) * 315 + 512) / 22_050
            (start, end), *_ = SUNG_S
            np.testing.assert_array_equal(data.clip_labels(clip), (centres_s >= start) & (centres_s < end))
            assert facts["vocal"]


def test_the_same_files_are_imported_once(jamendo: Path, tmp_path: Path) -> None:
    first = imported(jamendo, tmp_path / "corpus")
    written = (tmp_path / "corpus/train/frames.npy").stat().st_mtime_ns
    again = imported(jamendo, tmp_path / "corpus")
    assert again.report is None
    assert again.corpus == first.corpus
    assert (tmp_path / "corpus/train/frames.npy").stat().st_mtime_ns == written


def test_fingerprint_is_that_of_the_content(jamendo: Path, changed: Path, tmp_path: Path) -> None:
    def fingerprint(path: Path, name: str, config: DataConfig | None = None, workers: int = 1) -> str:
        return str(imported(path, tmp_path / name, config, workers=workers).corpus.manifest["fingerprint"])

    there = fingerprint(jamendo, "there")
    assert fingerprint(changed, "moved", workers=2) == there
    for split in SPLITS:
        moved, original = (open_corpus(tmp_path / name).open(split) for name in ("moved", "there"))
        np.testing.assert_array_equal(moved.frames, original.frames)
        np.testing.assert_array_equal(moved.labels, original.labels)
        assert moved.clips == original.clips
    (changed / "labels/00 - test. song.lab").write_text(label_lines(sung_s=[(1.0, 2.4)]))
    relabelled = fingerprint(changed, "relabelled")
    write_audio(changed / "audio/00 - test. song.ogg", sound(77))
    recorded = fingerprint(changed, "recorded")
    assert len({there, relabelled, recorded, fingerprint(jamendo, "other", DataConfig(tolerance_s=2.0))}) == 4


def test_broken_data_are_refused_whole_and_once_corrected_decode_only_what_is_new(
    changed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "corpus"
    good = (changed / "labels/00 - test. song.lab").read_text()
    (changed / "labels/00 - test. song.lab").write_text("0 1 humming\n")
    (changed / "audio/01 - train. song.mp3").unlink()
    with pytest.raises(BrokenData, match=r"2 errors: 01 - train\. song\.mp3: .*labels/00 - test\. song\.lab: line 1"):
        imported(changed, out)
    with pytest.raises(DatasetError, match="holds no complete corpus"):
        open_corpus(out)
    assert [path.name for path in out.iterdir()] == [KEPT]
    kept = {path.name: path.stat().st_mtime_ns for path in (out / KEPT).iterdir()}
    assert len(kept) == 5
    (changed / "audio/00 - train. song.ogg").unlink()
    with pytest.raises(BrokenData):
        imported(changed, out)
    assert {path.name: path.stat().st_mtime_ns for path in (out / KEPT).iterdir()} == kept
    (changed / "labels/00 - test. song.lab").write_text(good)
    (changed / "filelists/train").write_text("05 - new.wav\n")
    write_audio(changed / "audio/05 - new.wav", sound(5))
    (changed / "labels/05 - new.lab").write_text(label_lines())
    assert imported(changed, out).corpus.manifest["splits"]["train"]["clips"] == 1
    assert not (out / KEPT).exists()


def test_what_is_sound_can_be_imported_alone(changed: Path, tmp_path: Path) -> None:
    (changed / "audio/01 - train. song.mp3").write_text("not audio")
    (changed / "labels/00 - test. song.lab").unlink()
    config = DataConfig(leave_out_broken=True)
    result = imported(changed, tmp_path / "corpus", config)
    assert result.corpus.manifest["left_out"] == ["audio/00 - test. song.ogg", "audio/01 - train. song.mp3"]
    assert [result.corpus.manifest["splits"][split]["clips"] for split in SPLITS] == [1, 2, 1]
    assert len(result.corpus.open("train").clips) == 1
    (changed / "labels/01 - test. song.lab").unlink()
    with pytest.raises(BrokenData, match="test: no usable recording"):
        imported(changed, tmp_path / "none", config)


def test_another_corpus_is_replaced_only_on_demand_and_only_by_sound_data(
    jamendo: Path, changed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "corpus"
    first = imported(jamendo, out).corpus
    old = first.open("test")
    (changed / "labels/00 - test. song.lab").write_text(f"0 {SECONDS} nosing\n")
    with pytest.raises(DatasetError, match="another corpus"):
        imported(changed, out)
    label = (changed / "labels/01 - test. song.lab").read_text()
    (changed / "labels/01 - test. song.lab").unlink()
    with pytest.raises(BrokenData):
        imported(changed, out, force=True)
    assert open_corpus(out).manifest == first.manifest
    (changed / "labels/01 - test. song.lab").write_text(label)
    replaced = imported(changed, out, force=True).corpus
    assert replaced.manifest["fingerprint"] != first.manifest["fingerprint"]
    assert [clip.facts["vocal"] for clip in replaced.open("test").clips] == [False, True]
    assert len(old.frames) == len(replaced.open("test").frames)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/a.txt").write_text("mine")
    with pytest.raises(DatasetError, match="something else than a corpus"):
        imported(jamendo, tmp_path / "notes")


def test_a_manifest_is_plain_json(jamendo: Path, tmp_path: Path) -> None:
    config = replace(DataConfig(), vocal=("la",))
    manifest = imported(jamendo, tmp_path / "corpus", config).corpus.manifest
    assert json.loads((tmp_path / "corpus/manifest.json").read_text()) == json.loads(json.dumps(manifest))
    assert manifest["config"]["kind"] == "jamendo"


def test_songs_with_word_timings_are_loaded_whole(tmp_path: Path) -> None:
    for number, name in enumerate(("b", "a.1")):
        write_audio(tmp_path / f"audio/{name}.mp3", sound(number))
        (tmp_path / "words").mkdir(exist_ok=True)
        (tmp_path / f"words/{name}.csv").write_text("word_start,word_end,line_end\n1.0,1.6,nan\n1.8,2.5,nan\n")
    data = load_recordings(tmp_path, PROFILE)
    assert [clip.facts["name"] for clip in data.clips] == ["a.1", "b"]
    assert data.label_share == pytest.approx(1.5 / SECONDS, abs=0.02)
    (tmp_path / "words/b.csv").unlink()
    (tmp_path / "audio/a.1.mp3").write_text("not audio")
    with pytest.raises(BrokenData, match=r"audio/b\.mp3: has no label file.*audio/a\.1\.mp3: cannot be read"):
        load_recordings(tmp_path, PROFILE)
    with pytest.raises(DatasetError, match="no such folder"):
        load_recordings(tmp_path / "gone", PROFILE)
