"""Detector and generator trained on a folder of somebody's recordings, in two parts as in one."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from earwitness.features import get_profile
from earwitness.training.checkpoint import load_checkpoint
from earwitness.training.corpus import open_corpus
from earwitness.training.datasets import DataConfig, import_data
from earwitness.training.train_gan import GanTrainingConfig, checkpoints, train_gan, train_on_source
from earwitness.training.train_svd import SvdTrainingConfig, train_svd
from tests.helpers.recordings import write_labelled


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six recordings of three formats in nested folders, labels beside them, imported."""
    recordings = tmp_path_factory.mktemp("recordings")
    for number in range(6):
        name = recordings / f"album {number % 2}/take {number}"
        write_labelled(name.with_suffix((".wav", ".ogg", ".mp3")[number % 3]), name.with_suffix(".lab"), number)
    out = tmp_path_factory.mktemp("corpus") / "imported"
    manifest = import_data(recordings, out, get_profile("log-mel-80@1"), DataConfig()).corpus.manifest
    assert manifest["config"]["kind"] == "folder"
    assert [manifest["splits"][split]["clips"] for split in ("train", "valid", "test")] == [4, 1, 1]
    return out


def assert_same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_a_detector_goes_on_to_the_same_weights(corpus: Path, tmp_path: Path) -> None:
    whole = SvdTrainingConfig(
        corpus, tmp_path / "whole", epochs=2, updates_per_epoch=3, batch_size=4, excerpts_per_segment=2, threads=1
    )
    parts = replace(whole, run_folder=tmp_path / "parts")
    trained = train_svd(whole)
    train_svd(parts, stop_after_epochs=1)
    train_svd(parts)
    states = [torch.load(config.run_folder / "state.pt", weights_only=True) for config in (whole, parts)]
    assert states[0]["epoch"] == 2
    assert_same(states[0]["learner"], states[1]["learner"])
    assert load_checkpoint(trained, "svdnet")[1].training["corpus"] == open_corpus(corpus).manifest["fingerprint"]


def test_a_generator_goes_on_to_the_same_weights(corpus: Path, tmp_path: Path) -> None:
    whole = GanTrainingConfig(
        corpus, tmp_path / "whole", updates=4, batch_size=4, penalty_interval=2, generator_channels=16,
        critic_channels=4, checkpoint_interval=2, threads=1,
    )  # fmt: skip
    parts = replace(whole, run_folder=tmp_path / "parts")
    last = train_gan(whole)
    opened = open_corpus(corpus)
    train = opened.open("train")
    record = {"corpus": opened.manifest["fingerprint"], "sources": list(opened.manifest["sources"])}
    train_on_source(train, record, parts, stop_after=2)
    assert len(checkpoints(parts.run_folder)) == 1
    train_gan(parts)
    networks = [load_checkpoint(path, "generator") for path in (last, checkpoints(parts.run_folder)[-1])]
    assert_same(networks[0][0].state_dict(), networks[1][0].state_dict())
    assert networks[0][1].training["updates"] == 4
