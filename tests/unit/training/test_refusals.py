"""What training and evaluation refuse: data and checkpoints that do not fit, before anything is written."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from earwitness.errors import InvalidArgument
from earwitness.training import train_svd as svd_training
from earwitness.training.checkpoint import (
    CheckpointError,
    CheckpointMeta,
    file_sha256,
    load_checkpoint,
    save_checkpoint,
)
from earwitness.training.corpus import DatasetError, open_corpus
from earwitness.training.evaluate import evaluate_classifier
from earwitness.training.evaluate_gan import choose_checkpoint, evaluate_generator
from earwitness.training.export import Comparisons, SourceError, export_checkpoints
from earwitness.training.export.card import evaluate_pair
from earwitness.training.export.detector_figures import MEASURES
from earwitness.training.networks import SVDNet, make_generator
from earwitness.training.train_gan import GanTrainingConfig, train_gan
from earwitness.training.train_svd import LABELS, SvdTrainingConfig, spread_clips, train_svd

GENERATOR = {"latent_size": 128, "channels": 16, "log_floor": -16.1, "band_count": 80, "frame_count": 115}


@pytest.fixture
def corpus(easy_corpus: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(easy_corpus, tmp_path / "corpus"))


@pytest.fixture
def networks(easy_corpus: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Checkpoints of an untrained detector and of an untrained generator."""
    features = json.loads((easy_corpus / "train/clips.json").read_text())["features"]
    svd, gan = tmp_path / "svd.pt", tmp_path / "gan.pt"
    arguments = {"output_count": 1, "band_count": 80, "frame_count": 115}
    save_checkpoint(svd, SVDNet(**arguments), CheckpointMeta("svdnet", arguments, features, LABELS["r1"]))
    save_checkpoint(gan, make_generator(**GENERATOR), CheckpointMeta("generator", GENERATOR, features))
    return svd, gan


def svd_config(corpus: Path, run: Path) -> SvdTrainingConfig:
    return SvdTrainingConfig(corpus, run, epochs=1, updates_per_epoch=2, batch_size=4, excerpts_per_segment=2)


def gan_config(corpus: Path, run: Path) -> GanTrainingConfig:
    return GanTrainingConfig(corpus, run, updates=2, batch_size=4, generator_channels=16, critic_channels=4)


def relabel(split: Path, label: bool) -> None:
    np.save(split / "labels.npy", np.full_like(np.load(split / "labels.npy"), label))


def cut_clips(split: Path, frame_count: int) -> None:
    """Leaves the first frames of the split, as clips of `frame_count`."""
    clips = json.loads((split / "clips.json").read_text())
    for number, clip in enumerate(clips["clips"]):
        clip.update(first_frame=number * frame_count, frame_count=frame_count)
    (split / "clips.json").write_text(json.dumps(clips))
    for name in ("frames", "labels"):
        np.save(split / f"{name}.npy", np.load(split / f"{name}.npy")[: len(clips["clips"]) * frame_count])


def use_another_floor(corpus: Path) -> None:
    for split in ("train", "valid", "test"):
        path = corpus / split / "clips.json"
        clips = json.loads(path.read_text())
        clips["features"]["floor"] *= 2
        path.write_text(json.dumps(clips))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda corpus: relabel(corpus / "train", label=True), "training clips are all vocal"),
        (lambda corpus: relabel(corpus / "train", label=False), "training clips are all non-vocal"),
        (lambda corpus: relabel(corpus / "valid", label=False), "validation clips are all non-vocal"),
        (lambda corpus: cut_clips(corpus / "train", 116), "longest clip has 116 frames"),
        (lambda corpus: cut_clips(corpus / "valid", 100), "a validation clip has 100 frames, an excerpt 115"),
    ],
)
def test_a_detector_is_not_begun_on_data_it_cannot_learn_from(
    corpus: Path, tmp_path: Path, spoil: Callable[[Path], None], said: str
) -> None:
    spoil(corpus)
    with pytest.raises(InvalidArgument, match=said):
        train_svd(svd_config(corpus, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_an_epoch_is_validated_on_no_more_frames_than_are_bearable(
    easy_corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = open_corpus(easy_corpus).open("train")
    assert len(spread_clips(data, 12)) == 12
    monkeypatch.setattr(svd_training, "VALIDATION_FRAMES", 1600)
    assert len(spread_clips(data, 12)) == 5, "of 300 frames each"
    monkeypatch.setattr(svd_training, "VALIDATION_FRAMES", 10)
    assert spread_clips(data, 12) == [0], "one at least"


def test_a_generator_is_not_begun_without_an_excerpt(corpus: Path, tmp_path: Path) -> None:
    cut_clips(corpus / "train", 100)
    with pytest.raises(DatasetError, match="no clip has the 115 frames"):
        train_gan(gan_config(corpus, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("frames.npy", b"\x93NUMPY", "cannot be read"),
        ("labels.npy", b"", "cannot be read"),
        ("clips.json", b'{"clips": [', "cannot be read"),
        ("clips.json", b"{}", "does not describe such data"),
        ("clips.json", b"[]", "does not describe such data"),
    ],
)
@pytest.mark.parametrize("train", [lambda *of: train_svd(svd_config(*of)), lambda *of: train_gan(gan_config(*of))])
def test_a_damaged_corpus_is_told_by_its_folder(
    corpus: Path, tmp_path: Path, name: str, content: bytes, said: str, train: Callable[[Path, Path], Path]
) -> None:
    (corpus / "train" / name).write_bytes(content)
    with pytest.raises(DatasetError, match=rf"corpus/train.*{said}.*build the data again"):
        train(corpus, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_labels_of_other_frames_are_refused(corpus: Path, tmp_path: Path) -> None:
    np.save(corpus / "train/labels.npy", np.load(corpus / "train/labels.npy")[:-1])
    with pytest.raises(DatasetError, match="do not fit 12 clips"):
        train_gan(gan_config(corpus, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_checkpoints_of_another_architecture_are_refused(
    easy_corpus: Path, tmp_path: Path, networks: tuple[Path, Path]
) -> None:
    svd, gan = networks
    run = tmp_path / "run"
    config = gan_config(easy_corpus, run)
    (tmp_path / "trained/checkpoints").mkdir(parents=True)
    shutil.copy(gan, tmp_path / "trained/checkpoints/generator-0000001.pt")
    not_detector, not_generator = "holds the architecture 'generator', expected 'svdnet'", "holds .*'svdnet', expected"
    refused: list[tuple[Callable[[], object], str]] = [
        (lambda: train_gan(replace(config, detector=gan)), not_detector),
        (lambda: train_gan(replace(config, init=svd)), not_generator),
        (lambda: evaluate_classifier(gan, easy_corpus), not_detector),
        (lambda: evaluate_generator(gan, gan, easy_corpus), not_detector),
        (lambda: evaluate_generator(svd, svd, easy_corpus), not_generator),
        (lambda: choose_checkpoint(tmp_path / "trained", gan, easy_corpus), not_detector),
    ]
    for call, said in refused:
        with pytest.raises(CheckpointError, match=said):
            call()
    for pair, said in (((svd, svd), not_generator), ((gan, gan), "holds the architecture 'generator', expected")):
        with pytest.raises(SourceError, match=said):
            export_checkpoints(*pair, name="swapped", repository=tmp_path / "models")
    assert not run.exists()
    assert not (tmp_path / "models").exists()
    assert [path.name for path in (tmp_path / "trained").iterdir()] == ["checkpoints"]


def test_comparisons_are_looked_at_before_hours_are_spent(
    easy_corpus: Path, tmp_path: Path, networks: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    svd, gan = networks
    monkeypatch.setitem(MEASURES, "svdnet", lambda *given: pytest.fail("measured already"))
    for others in (
        Comparisons(detectors=[tmp_path / "gone.pt"]),
        Comparisons(classifiers={"it": tmp_path / "gone.pt"}),
        Comparisons(generators={"it": tmp_path / "gone.pt"}),
    ):
        with pytest.raises(CheckpointError, match=r"gone\.pt: no such checkpoint"):
            evaluate_pair(gan, svd, easy_corpus, comparisons=others)
    network, meta = load_checkpoint(gan, "generator")
    training = {"detector": {"sha256": file_sha256(svd), "training": {}}}
    save_checkpoint(gan, network, replace(meta, training=training))
    with pytest.raises(InvalidArgument, match=r"svd\.pt is the detector that .*gan\.pt was trained against"):
        evaluate_pair(gan, svd, easy_corpus)


@pytest.mark.parametrize("runs_ago", [0, 1, 2])
def test_no_generator_is_measured_by_what_it_was_trained_to_please(
    easy_corpus: Path, tmp_path: Path, networks: tuple[Path, Path], runs_ago: int
) -> None:
    svd, gan = networks
    training = {"detector": {"sha256": file_sha256(svd), "training": {}}, "updates": 1}
    for _ in range(runs_ago):
        training = {"init": {"sha256": "", "training": training}, "updates": 1}
    network, meta = load_checkpoint(gan, "generator")
    pleasing = tmp_path / "run/checkpoints/generator-0000001.pt"
    save_checkpoint(pleasing, network, replace(meta, training=training))
    for measure in (
        lambda: evaluate_generator(pleasing, svd, easy_corpus, excerpts=130),
        lambda: choose_checkpoint(tmp_path / "run", svd, easy_corpus, excerpts=130),
    ):
        with pytest.raises(InvalidArgument, match=r"svd\.pt is the detector that .*was trained against"):
            measure()


def test_a_corpus_of_other_features_measures_nothing(corpus: Path, tmp_path: Path, networks: tuple[Path, Path]) -> None:
    svd, gan = networks
    (tmp_path / "trained/checkpoints").mkdir(parents=True)
    shutil.copy(gan, tmp_path / "trained/checkpoints/generator-0000001.pt")
    use_another_floor(corpus)
    for call in (
        lambda: evaluate_classifier(svd, corpus),
        lambda: evaluate_generator(gan, svd, corpus),
        lambda: choose_checkpoint(tmp_path / "trained", svd, corpus),
    ):
        with pytest.raises(CheckpointError, match=r"svd\.pt was trained on features 'log-mel-80@1', .*corpus has"):
            call()
    assert [path.name for path in (tmp_path / "trained").iterdir()] == ["checkpoints"]


def test_weights_that_are_not_finite_are_refused(networks: tuple[Path, Path]) -> None:
    network, meta = load_checkpoint(networks[0], "svdnet")
    name, weight = next(iter(network.named_parameters()))
    torch.nn.init.constant_(weight, float("nan"))
    save_checkpoint(networks[0], network, meta)
    with pytest.raises(CheckpointError, match=f"its weight '{name}' holds NaN or infinity"):
        load_checkpoint(networks[0], "svdnet")
