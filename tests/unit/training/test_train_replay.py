"""Training of replay detectors at the smallest size: it learns, stops, and goes on where it was."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from earwitness.errors import InvalidArgument
from earwitness.features import get_profile
from earwitness.training.checkpoint import CheckpointError, load_checkpoint
from earwitness.training.networks.replay import NETWORKS, ReplayNetwork
from earwitness.training.replay.sampling import utterance_scores
from earwitness.training.replay.spectrograms import stored_spectrograms
from earwitness.training.replay.windows import window_starts
from earwitness.training.run_folder import Diverged
from earwitness.training.train_replay import (
    VALUES_AT_ONCE,
    ReplayTrainingConfig,
    add_gradient,
    balanced_error,
    train_replay,
)
from tests.unit.training.replay.conftest import ListedCorpus, dull_replays

__all__ = ["dull_replays"]


def config_in(folder: Path) -> ReplayTrainingConfig:
    return ReplayTrainingConfig(
        folder, network="bulbul", epochs=3, batch_size=8, learning_rate=8e-4, dropout=0.1, threads=1, workers=0
    )


def state_of(config: ReplayTrainingConfig) -> dict:
    return torch.load(config.run_folder / "state.pt", weights_only=True)


def curves_of(config: ReplayTrainingConfig) -> list[dict[str, float]]:
    with (config.run_folder / "curves.csv").open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def test_in_two_parts_equals_one(dull_replays: ListedCorpus, tmp_path: Path) -> None:
    whole, parts = config_in(tmp_path / "whole"), replace(config_in(tmp_path / "parts"), cache=tmp_path / "shared")
    train_replay(whole, dull_replays)
    train_replay(parts, dull_replays, stop_after_epochs=1)
    assert state_of(parts)["epoch"] == 1
    train_replay(parts, dull_replays)
    left, right = state_of(whole)["network"], state_of(parts)["network"]
    assert all(torch.equal(left[name], right[name]) for name in left)
    for name in ("loss", "dev_loss", "dev_error"):
        assert [row[name] for row in curves_of(whole)] == [row[name] for row in curves_of(parts)]
    for other in (replace(parts, seed=1), replace(parts, more_data=True)):
        with pytest.raises(CheckpointError, match="another configuration"):
            train_replay(other, dull_replays)
    with pytest.raises(CheckpointError, match="another configuration or corpus"):
        train_replay(parts, replace(dull_replays, fingerprint="other"))


@pytest.mark.parametrize("network", NETWORKS)
def test_more_data_slides_a_second_whatever_the_network(network: str, tmp_path: Path) -> None:
    one = ReplayTrainingConfig(tmp_path, network=network)
    more = replace(one, more_data=True)
    bands, frames = more.profile.excerpt_shape
    assert (bands, frames / more.profile.frames_per_second) == (one.profile.excerpt_shape[0], 1.0)
    assert get_profile(more.profile.name) == more.profile
    assert len(window_starts(350, frames, more.hop_frames)) == 6, "of three seconds and a half"
    assert ReplayNetwork(network, bands, frames)(torch.zeros(1, 1, bands, frames)).shape == (1, 2)
    named = replace(more, features="log-power-2048@1")
    assert named.profile.excerpt_shape == (1025, 400)


@pytest.mark.parametrize(("network", "rows"), [("bulbul", [7, 4]), ("compact", [3, 3, 3, 2]), ("stc_lcnn", [1, 1])])
def test_a_batch_in_pieces_has_the_gradient_of_the_whole(network: str, rows: list[int], tmp_path: Path) -> None:
    bands, frames = ReplayTrainingConfig(tmp_path, network=network).profile.excerpt_shape
    assert max(rows) == max(1, VALUES_AT_ONCE // (bands * frames))
    torch.manual_seed(0)
    # In double precision: in single, rounding changes which of two nearly equal values a maximum lets through.
    learner = ReplayNetwork(network, bands, frames, dropout=0.0).double().eval()
    learner.initialise(torch.Generator().manual_seed(0))
    windows, labels = torch.randn(sum(rows), bands, frames, dtype=torch.float64), torch.arange(sum(rows)) % 2
    whole = cross_entropy(learner(windows[:, None]), labels)
    expected = torch.autograd.grad(whole, list(learner.parameters()))
    learner.train().to(memory_format=torch.channels_last)  # as in a training on a CPU
    pieces = list[int]()
    learner.register_forward_pre_hook(lambda module, arguments: pieces.append(len(arguments[0])))
    torch.testing.assert_close(add_gradient(learner, windows, labels), whole.detach())
    assert pieces == rows
    for got, wanted in zip((each.grad for each in learner.parameters()), expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("more_data", [False, True])
def test_learns_what_can_be_told_apart(dull_replays: ListedCorpus, tmp_path: Path, more_data: bool) -> None:
    config = replace(config_in(tmp_path), epochs=5, more_data=more_data)
    checkpoint = train_replay(config, dull_replays)
    assert curves_of(config)[-1]["loss"] < 0.5 * curves_of(config)[0]["loss"]
    network, meta = load_checkpoint(checkpoint, "replay")
    assert meta.labels == {"0": ("genuine", "spoof"), "1": ("spoof", "genuine")}
    assert (meta.features["name"], meta.training["window_hop"]) == ("log-power-256@1", 50 if more_data else None)
    assert meta.training["dev_eer"] == curves_of(config)[-1]["dev_eer"] == 0
    assert meta.training["dev_loss"] == pytest.approx(min(row["dev_loss"] for row in curves_of(config)), rel=1e-4)
    evaluation = stored_spectrograms(dull_replays.utterances("eval"), config.profile, tmp_path / "eval")
    scores = utterance_scores(network, evaluation, 100, config.hop_frames)
    assert scores[evaluation.genuine].min() > scores[~evaluation.genuine].max()


def test_stops_when_the_dev_loss_no_longer_falls(dull_replays: ListedCorpus, tmp_path: Path) -> None:
    """With swapped dev labels every step that learns raises the dev loss."""
    swapped = {
        split: [replace(each, genuine=each.genuine != (split == "dev")) for each in utterances]
        for split, utterances in dull_replays.splits.items()
    }
    config = replace(config_in(tmp_path), epochs=50, patience=2)
    corpus = replace(dull_replays, splits=swapped)
    checkpoint = train_replay(config, corpus)
    stopped = len(curves_of(config))
    assert curves_of(config)[-1]["dev_eer"] == 0.5, "the convex hull of scores the wrong way round"
    best = 1 + int(np.argmin([row["dev_loss"] for row in curves_of(config)]))
    assert stopped == best + 2 < 50
    assert load_checkpoint(checkpoint, "replay")[1].training["updates"] == 3 * best
    train_replay(config, corpus)
    assert len(curves_of(config)) == stopped, "a run that has stopped has nothing left to do"


def test_refusals(dull_replays: ListedCorpus, tmp_path: Path) -> None:
    genuine = [each for each in dull_replays.utterances("dev") if each.genuine]
    one_class = replace(dull_replays, splits={**dull_replays.splits, "dev": genuine})
    with pytest.raises(
        InvalidArgument, match="of the 4 utterances of split 'dev' 4 are genuine; both classes are needed"
    ):
        train_replay(config_in(tmp_path), one_class)
    with pytest.raises(InvalidArgument, match="84 × 30, of which layer conv8 leaves nothing"):
        train_replay(replace(config_in(tmp_path), network="sparrow", features="log-cqt-84-30f@1"), dull_replays)
    for changes, said in (
        ({"network": "tiny"}, "network: got 'tiny'"),
        ({"batch_size": 0}, "batch_size: got 0"),
        ({"activation": "relu"}, "activation: got 'relu'"),
        ({"learning_rate": 0.0}, r"learning_rate: got 0\.0"),
    ):
        with pytest.raises(InvalidArgument, match=said):
            replace(config_in(tmp_path), **changes)
    with pytest.raises(Diverged, match="lower the learning rate"):
        train_replay(replace(config_in(tmp_path / "wild"), learning_rate=1e30), dull_replays)


def test_balanced_error_counts_both_classes_alike() -> None:
    scores, genuine = np.array([1.0, -1.0, -2.0, -3.0, 4.0]), np.array([True, True, False, False, False])
    assert balanced_error(scores, genuine) == pytest.approx((1 / 2 + 1 / 3) / 2)
