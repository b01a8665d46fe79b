"""The replay networks through the export: their search graphs against autograd, and a bundle from checkpoints."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from earwitness.errors import EarwitnessError
from earwitness.features import PROFILES
from earwitness.training.checkpoint import CheckpointMeta, save_checkpoint
from earwitness.training.corpus.dataset import DatasetError
from earwitness.training.export import SourceError, export_checkpoints, reference, verify
from earwitness.training.export.onnx_writer import to_onnx
from earwitness.training.export.pair import make_pair
from earwitness.training.export.search_graph import INPUTS, OUTPUTS, search_graph
from earwitness.training.networks import Generator
from earwitness.training.networks.replay import LABELS, NETWORKS, Activation, ReplayNetwork
from tests.unit.training.export.networks import Case
from tests.unit.training.export.torch_side import answer, run, session_of

TOLERANCE = 5e-4
SMALL = {"stc_lcnn": (67, 49)}
"""Inputs of odd sizes, smaller than the network's own where that takes minutes."""
TRAINED = {"corpus": "ab" * 32, "sources": ["utterances"], "seed": 0, "updates": 7, "config": {"patience": 3}}


def shape_of(name: str) -> tuple[int, int]:
    return SMALL.get(name) or PROFILES[NETWORKS[name].profile_name].excerpt_shape


class Sketch(nn.Module):
    """z `[B, 4]` → `[B, 1, bands, frames]` in few steps: a coarse plane, enlarged and cropped."""

    latent_size = 4

    def __init__(self, bands: int, frames: int) -> None:
        super().__init__()
        self.size = (bands, frames)
        self.coarse = (-(-bands // 8), -(-frames // 8))
        self.dense = nn.Linear(4, 4 * self.coarse[0] * self.coarse[1])
        self.up = nn.ConvTranspose2d(4, 1, 12, stride=8, padding=2)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x = self.up(torch.tanh(self.dense(z)).reshape(-1, 4, *self.coarse))
        return x[:, :, : self.size[0], : self.size[1]]


def networks(name: str, activation: Activation | None = None) -> tuple[Sketch, ReplayNetwork]:
    bands, frames = shape_of(name)
    generator = Sketch(bands, frames).eval()
    classifier = ReplayNetwork(name, bands, frames, activation).eval()
    seed = torch.Generator().manual_seed(5)
    classifier.initialise(seed)
    classifier.standardise.set_statistics(torch.linspace(-0.2, 0.2, bands), torch.linspace(0.1, 0.3, bands))
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.normal_(0, 0.5, generator=seed)
    return generator, classifier


@pytest.mark.parametrize(
    ("name", "activation"),
    [*((name, spec.activation) for name, spec in NETWORKS.items()), ("compact", "elu"), ("bulbul", "mfm")],
)
def test_search_graph_agrees_with_autograd(name: str, activation: Activation) -> None:
    generator, classifier = networks(name, activation)
    pair = make_pair(generator, classifier, {layer: layer for layer in classifier.layer_names})
    assert [layer.name for layer in pair.layers] == list(classifier.layer_names)
    assert (pair.layers[-1].kind, pair.layers[-1].unit_count) == ("output", 2)
    session = session_of(to_onnx(search_graph(pair), INPUTS, OUTPUTS).SerializeToString())
    # The tests' own account calls the last layer "output" itself.
    case = Case(generator, classifier, {layer: layer for layer in classifier.layer_names[:-1]})
    rng = np.random.default_rng(3)
    for batch in (1, len(pair.layers)):
        z = rng.standard_normal((batch, 4)).astype(np.float32)
        weights = np.zeros((batch, pair.unit_count), np.float32)
        for row in range(batch):
            layer = pair.layers[-1 - row]
            units = slice(layer.first_unit, layer.first_unit + layer.unit_count)
            weights[row, units] = rng.standard_normal(layer.unit_count)
        errors = gradient_errors(session, case, z, weights)
        if errors.max() > TOLERANCE:
            # Where two values of a pooling window all but tie, rounding decides the gradient, but not beside it.
            errors = np.minimum(errors, gradient_errors(session, case, z + np.float32(1e-3), weights))
        assert errors.max() <= TOLERANCE


def gradient_errors(
    session: onnxruntime.InferenceSession, case: Case, z: NDArray[np.float32], weights: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Each row's largest error, relative to its gradient; the activations are held against torch's on the way."""
    want = answer(case, z, weights)
    got = run(session, z=z, unit_weights=weights, prior_weight=np.zeros((len(z), 1), np.float32))
    scale = np.abs(want.activation).max()
    np.testing.assert_allclose(got["activation"][:, 0], want.activation, rtol=1e-5, atol=1e-5 * scale)
    sizes = np.abs(want.gradient).max(axis=1)
    assert (sizes > 0).all()
    return np.abs(got["gradient"] - want.gradient).max(axis=1) / sizes


def test_a_bundle_from_checkpoints_of_a_replay_detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profile = PROFILES["log-mel-80@1"]
    shape = dict(zip(("band_count", "frame_count"), profile.excerpt_shape, strict=True))
    detector = ReplayNetwork("compact", **shape)
    generator = Generator(latent_size=4, channels=16)
    for network in (detector, generator):
        network.initialise(torch.Generator().manual_seed(0))
    save_checkpoint(
        tmp_path / "detector.pt", detector,
        CheckpointMeta("replay", {"network": "compact", **shape}, profile.to_dict(), LABELS, TRAINED),
    )  # fmt: skip
    save_checkpoint(
        tmp_path / "gan.pt", generator,
        CheckpointMeta("generator", {"latent_size": 4, "channels": 16}, profile.to_dict(), training=TRAINED),
    )  # fmt: skip
    with pytest.raises(DatasetError, match="holds no complete corpus"):
        export_checkpoints(tmp_path / "gan.pt", tmp_path / "detector.pt", "replay", tmp_path / "out", tmp_path)
    with pytest.raises(SourceError, match="holds the architecture 'generator', expected 'svdnet' or 'replay'"):
        export_checkpoints(tmp_path / "gan.pt", tmp_path / "gan.pt", "replay", tmp_path / "out")
    for name, songs, said in (
        ("Replay!", None, "name: got 'Replay!'"),
        ("replay", tmp_path, "songs: are for a singing"),
    ):
        with pytest.raises(EarwitnessError, match=said):
            export_checkpoints(tmp_path / "gan.pt", tmp_path / "detector.pt", name, tmp_path / "out", tmp_path, songs)
    # Fewer rows than in an export, for time; so few values at once that even these have to be taken in parts.
    monkeypatch.setattr(verify, "BATCHES", (1, 16))
    monkeypatch.setattr(reference, "VALUES_AT_ONCE", 7 * 80 * 115)
    exported = export_checkpoints(tmp_path / "gan.pt", tmp_path / "detector.pt", "replay-compact", tmp_path / "out")
    assert exported.parity.batches == (1, 7)
    assert exported.metadata.output_layer.name == "fc8"
    assert [tuple(asdict(label).values()) for label in exported.metadata.labels] == [
        (0, "genuine", "spoof"),
        (1, "spoof", "genuine"),
    ]
    assert "| fc8 | output | 2 |" in (tmp_path / "out" / "replay_compact.md").read_text()


def test_rows_that_fit_into_memory() -> None:
    generator, classifier = networks("bulbul")
    assert reference.rows_at_once(make_pair(generator, classifier, None)) == 162
