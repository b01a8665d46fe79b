"""Training loops at the smallest sizes: they learn, and a run in two parts equals one in one."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from earwitness.errors import InvalidArgument
from earwitness.training.augmentation import AugmentationConfig, Augmenter
from earwitness.training.checkpoint import CheckpointError, load_checkpoint
from earwitness.training.corpus import open_corpus
from earwitness.training.evaluate_gan import best_index, choose_checkpoint, evaluate_generator
from earwitness.training.networks import RefinedGenerator
from earwitness.training.run_folder import Diverged, RunFolder, plain
from earwitness.training.segments import SegmentSampler, SegmentShape
from earwitness.training.train_gan import GanTrainingConfig, checkpoints, train_gan, train_on_source
from earwitness.training.train_svd import SvdTrainingConfig, train_svd


def svd_config(corpus: Path, folder: Path) -> SvdTrainingConfig:
    return SvdTrainingConfig(
        corpus, folder, epochs=2, updates_per_epoch=6, batch_size=4, excerpts_per_segment=2, threads=1
    )


def weights(path: Path, architecture: str) -> dict[str, torch.Tensor]:
    return load_checkpoint(path, architecture)[0].state_dict()


def assert_same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


def files_of(folder: Path) -> dict[str, bytes]:
    """All that is not written by looking into a folder."""
    return {
        str(path): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("lock", "train.log")
    }


def test_svd_in_two_parts_equals_one(easy_corpus: Path, tmp_path: Path) -> None:
    whole, parts = svd_config(easy_corpus, tmp_path / "whole"), svd_config(easy_corpus, tmp_path / "parts")
    train_svd(whole)
    train_svd(parts, stop_after_epochs=1)
    train_svd(parts)
    states = [torch.load(config.run_folder / "state.pt", weights_only=True) for config in (whole, parts)]
    assert_same(states[0]["learner"], states[1]["learner"])
    assert_same(states[0]["average"], states[1]["average"])
    with pytest.raises(CheckpointError, match="another configuration"):
        train_svd(replace(parts, seed=1))
    with pytest.raises(CheckpointError, match="holds the architecture 'svdnet', expected 'generator'"):
        load_checkpoint(whole.run_folder / "best.pt", "generator")


def test_bfloat16_in_two_parts_equals_one_and_is_another_run_than_float32(easy_corpus: Path, tmp_path: Path) -> None:
    whole, parts = (
        replace(svd_config(easy_corpus, tmp_path / name), precision="bfloat16") for name in ("whole", "parts")
    )
    train_svd(whole)
    train_svd(parts, stop_after_epochs=1)
    train_svd(parts)
    states = [torch.load(config.run_folder / "state.pt", weights_only=True) for config in (whole, parts)]
    assert_same(states[0]["learner"], states[1]["learner"])
    with pytest.raises(CheckpointError, match="another configuration"):
        train_svd(replace(parts, precision="float32"))


def test_runs_of_before_there_was_a_precision_go_on() -> None:
    assert "precision" not in plain(SvdTrainingConfig(Path(), Path()))
    assert plain(SvdTrainingConfig(Path(), Path(), precision="bfloat16"))["precision"] == "bfloat16"


@pytest.mark.parametrize(
    ("optimiser", "batch_norm", "precision"),
    [("adam", True, "float32"), ("nesterov", False, "float32"), ("adam", True, "bfloat16")],
)
def test_svd_learns_what_can_be_told_apart(
    easy_corpus: Path,
    tmp_path: Path,
    optimiser: Literal["adam", "nesterov"],
    batch_norm: bool,
    precision: Literal["float32", "bfloat16"],
) -> None:
    config = replace(
        svd_config(easy_corpus, tmp_path), epochs=3, updates_per_epoch=20, batch_size=8, optimiser=optimiser,
        batch_norm=batch_norm, learning_rate=0.003, precision=precision,
    )  # fmt: skip
    train_svd(config)
    assert {each.dtype for each in weights(tmp_path / "best.pt", "svdnet").values()} == {torch.float32}
    with (tmp_path / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["loss"]) < 0.9 * float(rows[0]["loss"])
    assert float(rows[-1]["valid_auc"]) > 0.95


def test_published_schedule_is_that_of_the_paper(tmp_path: Path) -> None:
    config = SvdTrainingConfig.published(tmp_path, tmp_path)
    assert (config.epochs, config.updates_per_epoch, config.batch_size) == (20, 2000, 32)
    assert (config.optimiser, config.learning_rate, config.rate_decay, config.momentum) == (
        "nesterov", 0.01, 0.85, 0.95,
    )  # fmt: skip
    assert (config.target_margin, config.excerpts_per_segment, config.batch_norm, config.ema_updates) == (
        0.02, 1, False, 0,
    )  # fmt: skip
    augmentation = config.augmentation
    assert (augmentation.stretch, augmentation.shift, augmentation.filter_db) == (0.3, 0.3, 10.0)
    assert (augmentation.level_db, augmentation.mix_share) == (0, 0)
    assert (augmentation.masked_bands, augmentation.masked_frames) == (0, 0)


def test_gan_in_two_parts_equals_one_and_is_scored(easy_corpus: Path, tmp_path: Path) -> None:
    classifier = train_svd(replace(svd_config(easy_corpus, tmp_path / "svd"), epochs=1))
    whole = GanTrainingConfig(
        easy_corpus, tmp_path / "whole", updates=4, batch_size=4, penalty_interval=2, generator_channels=16,
        critic_channels=4, checkpoint_interval=2, threads=1,
    )  # fmt: skip
    parts = replace(whole, run_folder=tmp_path / "parts")
    train_gan(whole)
    train = open_corpus(easy_corpus).open("train")
    record = {"corpus": "easy", "sources": ["noise"]}
    train_on_source(train, record, parts, stop_after=2)
    train_on_source(train, record, parts)
    for left, right in zip(checkpoints(whole.run_folder), checkpoints(parts.run_folder), strict=True):
        assert_same(weights(left, "generator"), weights(right, "generator"))
    best = choose_checkpoint(whole.run_folder, classifier, easy_corpus, excerpts=130)
    report = evaluate_generator(best, classifier, easy_corpus, excerpts=130)
    assert (
        0 < report.fid_training < report.fid
    )  # an untrained generator is farther from the test data than training data
    assert report.fid_real_halves > 0
    assert report.warnings == ()
    with pytest.raises(InvalidArgument, match="excerpts: got 128, expected more than 128: twice the 64 units of fc8"):
        evaluate_generator(best, classifier, easy_corpus, excerpts=128)
    assert load_checkpoint(best, "generator")[1].training["score"]["fid"] > 0

    (whole.run_folder / "state.pt").unlink()
    left = files_of(whole.run_folder)
    with pytest.raises(CheckpointError, match=r"holds best\.pt, checkpoints, fid\.json, fid\.csv, and no state\.pt"):
        train_gan(whole)
    for given in ({"init": best}, {"detector": best}):
        with pytest.raises(InvalidArgument, match="lies in the run's own folder"):
            train_gan(replace(whole, **given))
    assert files_of(whole.run_folder) == left


def test_gan_against_a_detectors_layers(easy_corpus: Path, tmp_path: Path) -> None:
    detector = train_svd(replace(svd_config(easy_corpus, tmp_path / "svd"), epochs=1))
    plain = GanTrainingConfig(
        easy_corpus, tmp_path / "plain", updates=2, batch_size=4, penalty_interval=1, generator_channels=16,
        critic_channels=4, checkpoint_interval=2, threads=1, ema_updates=1.0,
    )  # fmt: skip
    init = train_gan(plain)
    whole = replace(plain, run_folder=tmp_path / "whole", detector=detector, init=init, updates=4)
    last = train_gan(whole)
    parts = replace(whole, run_folder=tmp_path / "parts")
    train = open_corpus(easy_corpus).open("train")
    manifest = open_corpus(easy_corpus).manifest
    record = {"corpus": manifest["fingerprint"], "sources": list(manifest["sources"])}
    train_on_source(train, record, parts, stop_after=2)
    train_on_source(train, record, parts)
    assert_same(weights(last, "generator"), weights(checkpoints(parts.run_folder)[-1], "generator"))
    state = torch.load(whole.run_folder / "state.pt", weights_only=True)["gan"]["critic"]
    kept = {name.removeprefix("layers.detector."): value for name, value in state.items() if ".detector." in name}
    assert_same(kept, weights(detector, "svdnet"))

    meta = load_checkpoint(last, "generator")[1]
    assert meta.training["detector"]["training"]["seed"] == 0
    assert meta.training["init"]["training"]["updates"] == 2
    for judge in (
        lambda: evaluate_generator(last, detector, easy_corpus, excerpts=130),
        lambda: choose_checkpoint(whole.run_folder, detector, easy_corpus, excerpts=130),
    ):
        with pytest.raises(InvalidArgument, match=r"is the detector that .* was trained against"):
            judge()
    with pytest.raises(InvalidArgument, match="loss: got wasserstein"):
        replace(whole, loss="wasserstein")
    with pytest.raises(InvalidArgument, match=r"init: .* has channels 16, this run 32"):
        train_gan(replace(whole, run_folder=tmp_path / "other", generator_channels=32))
    with pytest.raises(CheckpointError, match="another configuration or corpus"):
        train_gan(replace(whole, init=checkpoints(parts.run_folder)[-1]))


def test_a_refined_generator_goes_on_from_a_published_one_and_not_the_other_way(
    easy_corpus: Path, tmp_path: Path
) -> None:
    paper = GanTrainingConfig(
        easy_corpus, tmp_path / "paper", updates=2, batch_size=4, generator_channels=16, critic_channels=4, threads=1,
        checkpoint_interval=2,
    )  # fmt: skip
    refined = replace(paper, run_folder=tmp_path / "refined", arch="refined", init=train_gan(paper), updates=4)
    last = train_gan(refined)
    network, meta = load_checkpoint(last, "generator")
    assert isinstance(network, RefinedGenerator)
    assert meta.arguments["arch"] == "refined"
    assert network.finish.weight.abs().max() > 0
    parts = replace(refined, run_folder=tmp_path / "parts")
    train = open_corpus(easy_corpus).open("train")
    manifest = open_corpus(easy_corpus).manifest
    record = {"corpus": manifest["fingerprint"], "sources": list(manifest["sources"])}
    arguments = (train, record, parts)
    train_on_source(*arguments, stop_after=2)
    train_on_source(*arguments)
    assert_same(weights(last, "generator"), weights(checkpoints(parts.run_folder)[-1], "generator"))
    with pytest.raises(InvalidArgument, match=r"init: .* has the layout refined, this run paper"):
        train_gan(replace(paper, run_folder=tmp_path / "back", init=last))


def test_one_process_at_a_time_and_one_corpus(easy_corpus: Path, tmp_path: Path) -> None:
    config = svd_config(easy_corpus, tmp_path / "run")
    folder = RunFolder(config.run_folder, config, "easy")
    with folder.in_use(), pytest.raises(CheckpointError, match="another process trains here"):
        train_svd(config)
    folder.save_state({"epoch": 1})
    with pytest.raises(CheckpointError, match="another configuration or corpus"):
        RunFolder(config.run_folder, config, "another").load_state()


def test_a_best_network_of_nobody_knows_which_run_is_kept(easy_corpus: Path, tmp_path: Path) -> None:
    config = svd_config(easy_corpus, tmp_path / "run")
    config.run_folder.mkdir()
    (config.run_folder / "best.pt").write_bytes(b"mine")
    with pytest.raises(CheckpointError, match=r"holds best\.pt, and no state\.pt of the run that made them"):
        train_svd(config)
    assert files_of(config.run_folder) == {str(config.run_folder / "best.pt"): b"mine"}


def test_a_run_ended_before_its_first_state_goes_on_and_leaves_nothing_to_another(tmp_path: Path) -> None:
    config = svd_config(tmp_path, tmp_path / "run")
    folder = RunFolder(config.run_folder, config, "easy")
    assert folder.resume() is None
    other = RunFolder(config.run_folder, replace(config, seed=1), "easy")
    assert other.load_state() is None, "nothing was made yet"
    (config.run_folder / "best.pt").touch()
    assert folder.resume() is None
    with pytest.raises(CheckpointError, match="another configuration"):
        other.resume()


def test_a_run_that_diverges_keeps_its_last_state(easy_corpus: Path, tmp_path: Path) -> None:
    config = replace(svd_config(easy_corpus, tmp_path), optimiser="nesterov", batch_norm=False, learning_rate=1e30)
    with pytest.raises(Diverged, match="lower the learning rate"):
        train_svd(config)
    assert not (tmp_path / "best.pt").exists()


def test_best_index_is_the_middle_of_the_best_neighbours() -> None:
    assert best_index([9.0, 1.0, 9.0, 4.0, 3.0, 5.0], window=3) == 4
    assert best_index([2.0], window=3) == 0


def test_segments_are_labelled_at_the_centre_of_each_excerpt(easy_corpus: Path) -> None:
    data = open_corpus(easy_corpus).open("train")
    still = AugmentationConfig(0, 0, 0, 0, 0, masked_bands=0, masked_frames=0)
    segments, labels = SegmentSampler(data, SegmentShape(115, 3), still, 16, seed=0).batch(5)
    assert segments.shape == (16, 80, 133)
    loud = segments[:, 30:40, [57, 66, 75]].mean(axis=1) > -5.0
    np.testing.assert_array_equal(loud, labels > 0.5)


def test_masks_blank_one_run_of_bands_and_one_of_frames() -> None:
    config = AugmentationConfig(0, 0, 0, 0, 0, masked_bands=5, masked_frames=7)
    augmenter = Augmenter(config, np.linspace(50, 8000, 20), -16.0)
    rng = np.random.default_rng(0)
    segments = rng.standard_normal((200, 20, 30)).astype(np.float32)
    masked = augmenter.mask(rng, segments)
    changed = masked != segments
    bands, frames = changed.all(axis=2), changed.all(axis=1)
    np.testing.assert_array_equal(changed, bands[:, :, None] | frames[:, None, :])
    for blanked, longest in ((bands, 5), (frames, 7)):
        assert blanked.sum(axis=1).max() == longest
        assert (np.diff(np.pad(blanked, ((0, 0), (1, 1))).astype(int), axis=1) == 1).sum(axis=1).max() == 1
    np.testing.assert_allclose(
        masked[changed], np.broadcast_to(segments.mean((1, 2))[:, None, None], masked.shape)[changed]
    )


def test_augmentation_keeps_shape_and_floor(easy_corpus: Path) -> None:
    data = open_corpus(easy_corpus).open("train")
    sampler = SegmentSampler(data, SegmentShape(115, 2), AugmentationConfig(), 8, seed=0)
    segments, labels = sampler.batch(0)
    assert segments.shape == (8, 80, 124)
    assert segments.dtype == torch.float32
    assert labels.shape == (8, 2)
    assert segments.min() >= data.profile.floor_value
    assert segments.max() < 12.0
    torch.testing.assert_close(segments, sampler.batch(0)[0], rtol=0, atol=0)


def test_batches_do_not_depend_on_who_prepares_them(easy_corpus: Path) -> None:
    data = open_corpus(easy_corpus).open("train")
    sampler = SegmentSampler(data, SegmentShape(115, 2), AugmentationConfig(), 8, seed=0)
    alone = list(sampler.batches(3, 7, workers=0))
    assert len(alone) == 4
    for one, other in zip(alone, sampler.batches(3, 7, workers=2), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
