"""Networks of waveforms: exported with or without an axis for the band, and explained by their own sound."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from earwitness.features import MelProfile, WaveformProfile, render_audio
from earwitness.training.export import ExportError, export_bundle
from tests.unit.training.export.torch_side import run, session_of

SAMPLES, LATENT = 512, 8
PROFILE = WaveformProfile("own-waveform@1", 16_000, SAMPLES)


def generator(*, band: bool) -> nn.Module:
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Linear(LATENT, 512), nn.Unflatten(1, (16, 32)), nn.ConvTranspose1d(16, 8, 25, 4, 11, 1), nn.ReLU(),
        nn.ConvTranspose1d(8, 1, 25, 4, 11, 1), nn.Tanh(),
    )  # fmt: skip
    return made if band else nn.Sequential(*made, nn.Flatten())


class Classifier(nn.Module):
    """A convolution of the samples, as RawNet's first layer; without `band` it adds the axis itself."""

    def __init__(self, *, band: bool) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.band = band
        self.conv = nn.Conv1d(1, 8, 80, 16)
        self.output = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x if self.band else x.unsqueeze(1)
        return self.output(torch.relu(self.conv(x)).mean(2))  # type: ignore[no-any-return]


@pytest.mark.parametrize("made", [True, False], ids=["made with a band", "made without"])
@pytest.mark.parametrize("taken", [True, False], ids=["taken with one", "taken without"])
def test_either_shape_is_exported(made: bool, taken: bool, tmp_path: Path) -> None:
    networks = generator(band=made).eval(), Classifier(band=taken).eval()
    bundle = export_bundle(*networks, name="wave", features=PROFILE, repository=tmp_path)
    assert bundle.metadata.spectrogram_shape == (1, SAMPLES)
    assert [layer.name for layer in bundle.metadata.layers] == ["conv", "output"]
    assert bundle.parity.gradient < 1e-5
    z = np.random.default_rng(0).standard_normal((3, LATENT)).astype(np.float32)
    sound = run(session_of((tmp_path / "wave_generator/1/model.onnx").read_bytes()), z=z)["spectrogram"]
    assert sound.shape == (3, 1, SAMPLES)
    with torch.no_grad():
        wanted = networks[0](torch.from_numpy(z))
        logits = networks[1](wanted.reshape(3, 1, SAMPLES) if taken else wanted.reshape(3, SAMPLES))
    np.testing.assert_allclose(sound[:, 0], wanted.reshape(3, SAMPLES), atol=1e-5)
    found = run(session_of((tmp_path / "wave_classifier/1/model.onnx").read_bytes()), spectrogram=sound)
    np.testing.assert_allclose(found["output"], logits, atol=1e-4)
    heard, rate = soundfile.read(io.BytesIO((audio := render_audio(PROFILE, sound[0])).wav), dtype="float32")
    assert rate == 16_000
    np.testing.assert_allclose(heard / audio.gain, sound[0, 0], atol=1e-4 / audio.gain + 1e-4)


def test_the_profile_has_to_be_as_long_as_the_sound(tmp_path: Path) -> None:
    longer = WaveformProfile("own-waveform@1", 16_000, 2 * SAMPLES)
    with pytest.raises(ExportError, match=r"excerpts of \[1, 1024\] bands × frames, the generator returns \[1, 512\]"):
        export_bundle(generator(band=True), Classifier(band=True), name="wave", features=longer, repository=tmp_path)
    assert not list(tmp_path.iterdir())


def test_waveforms_under_a_profile_of_one_band_are_named(tmp_path: Path) -> None:
    """Its sounds would be made of samples taken for a mel band."""
    one_band = MelProfile(
        "band@1", sample_rate_hz=16_000, frame_length=2, hop_length=1, band_count=1, excerpt_frames=SAMPLES
    )
    for band in (True, False):
        with pytest.raises(ExportError, match=r"looks like waveforms, .* need features of kind waveform"):
            export_bundle(
                generator(band=band), Classifier(band=True), name="wave", features=one_band, repository=tmp_path
            )
    assert not list(tmp_path.iterdir())
