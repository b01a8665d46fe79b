"""Utterances as excerpts: windows from anywhere, with their utterance's label; what every network shows a critic."""

from pathlib import Path

import numpy as np
import pytest
import torch

from earwitness.features import get_profile
from earwitness.training.corpus import DatasetError
from earwitness.training.excerpts import open_excerpts
from earwitness.training.networks import Critic
from earwitness.training.networks.replay import NETWORKS, ReplayNetwork
from earwitness.training.replay.excerpts import UtteranceExcerpts
from earwitness.training.replay.spectrograms import UtteranceSpectrograms
from earwitness.training.replay.utterances import Utterance
from tests.helpers.spoofing import write_version_2

PROFILE = get_profile("log-power-256@1")
BANDS, LENGTH = PROFILE.excerpt_shape
COUNTS = [LENGTH + 3, LENGTH - 40]
"""Frames of a genuine utterance and of a replayed one, which is shorter than a window."""


@pytest.fixture
def excerpts() -> UtteranceExcerpts:
    """Every frame holds its number in its utterance; the first one lies below the floor."""
    frames = np.concatenate([np.arange(count) for count in COUNTS])
    frames[0] = -20
    utterances = [Utterance(name, Path(name), name == "genuine", "M0001") for name in ("genuine", "spoof")]
    data = np.repeat(frames[:, np.newaxis], BANDS, axis=1).astype(np.float16)
    return UtteranceExcerpts(UtteranceSpectrograms(utterances, data, COUNTS), PROFILE)


def test_windows_begin_anywhere_and_have_their_utterances_label(excerpts: UtteranceExcerpts) -> None:
    windows, labels = excerpts.random_excerpts(np.random.default_rng(0), 200)
    assert windows.shape == (200, BANDS, LENGTH)
    assert windows.dtype == np.float32
    assert windows.min() >= np.float32(PROFILE.floor_value)
    last = windows[:, 0, -1]
    assert set(last[labels == 1]) == {LENGTH - 1 + start for start in range(4)}
    assert set(last[labels == 0]) == {39}  # it went on from its beginning
    assert excerpts.label_share == 4 / 5
    assert abs(labels.mean() - 4 / 5) < 0.1
    assert list(excerpts.frame_counts) == [LENGTH + 3, LENGTH]


def test_recordings_need_a_front_end(tmp_path: Path) -> None:
    corpus = write_version_2(tmp_path / "corpus")
    with pytest.raises(DatasetError, match="name the front end of the detector"):
        open_excerpts(corpus, None, tmp_path / "cache")
    opened = open_excerpts(corpus, PROFILE, tmp_path / "cache")
    assert opened.open("valid").random_excerpts(np.random.default_rng(0), 2)[0].shape == (2, BANDS, LENGTH)
    assert opened.open("test").profile == PROFILE


@pytest.mark.parametrize(
    ("network", "layers"),
    [
        ("stc_lcnn", ("pool2", "pool5", "pool8", "pool11", "pool14", "fc15")),
        ("pindrop", ("conv3", "fc5", "fc6", "fc7")),
        ("bulbul", ("pool2", "pool4", "pool6", "pool8", "fc9", "fc10")),
        ("sparrow", ("pool3", "pool7")),
        ("compact", ("pool2", "pool4", "pool6", "fc7")),
    ],
)
def test_a_critic_reads_every_networks_layers(network: str, layers: tuple[str, ...]) -> None:
    size = {"stc_lcnn": (67, 49)}.get(network) or get_profile(NETWORKS[network].profile_name).excerpt_shape
    detector = ReplayNetwork(network, *size)
    assert detector.judged_layers == layers
    critic = Critic(4, detector, size)
    assert critic.layers is not None
    x, labels = torch.randn(2, 1, *size), torch.tensor([1.0, -1.0])
    critic.layers.set_statistics(x)
    assert critic(x, labels).shape == critic.squared_slopes(x, labels).shape == (2,)
    hidden = dict(detector._hidden(x))[detector.layer_names[-2]]
    torch.testing.assert_close(detector.embed(x), hidden if hidden.ndim == 2 else hidden.mean((2, 3)))
