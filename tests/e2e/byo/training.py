"""What the user did long before: spectrograms by librosa, a detector of calls, a DCGAN; here in seconds."""

from pathlib import Path

import librosa
import numpy as np
import torch
from torch import Tensor, nn

from tests.e2e.byo.birds import LATENT, CallDetector, CallGenerator

RATE_HZ, FRAMES = 16_000, 96
BATCH, DETECTOR_STEPS, GAN_STEPS = 16, 20, 20


def spectrogram(waveform: np.ndarray) -> np.ndarray:
    """`[64, 96]`, about [-1, 1]."""
    mel = librosa.feature.melspectrogram(
        y=waveform, sr=RATE_HZ, n_fft=512, win_length=400, hop_length=160, n_mels=64, fmin=50, fmax=8000
    )
    return ((np.log(mel + 1e-6) + 7) / 7)[:, :FRAMES]


def sound(rng: np.random.Generator, call: bool) -> np.ndarray:
    """Nearly a second of hiss, with two falling whistles or none."""
    time = np.arange(160 * (FRAMES - 1)) / RATE_HZ
    waveform = 0.01 * rng.standard_normal(len(time))
    for start in rng.uniform(0, 0.7, 2) if call else ():
        since = np.maximum(time - start, 0)
        phase = 2 * np.pi * (rng.uniform(2_500, 5_000) * since - 4_000 * since**2)
        waveform += 0.3 * np.sin(phase) * since * 30 * np.exp(-since * 30)
    return waveform.astype(np.float32)


def batches(seed: int) -> tuple[Tensor, Tensor]:
    """128 spectrograms `[128, 1, 64, 96]` and whether each holds calls `[128]`."""
    rng = np.random.default_rng(seed)
    labels = np.arange(128) % 2
    x = np.stack([spectrogram(sound(rng, bool(label))) for label in labels])
    return torch.from_numpy(x).float()[:, None], torch.from_numpy(labels)


def train(folder: Path, seed: int = 0) -> None:
    """Writes `detector.pt`, a bare state dict, and `generator.pt`, a training script's checkpoint."""
    torch.manual_seed(seed)
    x, labels = batches(seed)
    detector, generator = CallDetector(), CallGenerator()
    optimiser = torch.optim.Adam(detector.parameters(), 1e-3)
    for step in range(DETECTOR_STEPS):
        rows = torch.arange(step * BATCH, (step + 1) * BATCH) % len(x)
        loss = nn.functional.cross_entropy(detector(x[rows]), labels[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    torch.save(detector.state_dict(), folder / "detector.pt")

    critic = nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(16, 32, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Flatten(), nn.Linear(32 * 16 * 24, 1),
    )  # fmt: skip
    optimisers = [torch.optim.Adam(each.parameters(), 2e-4, betas=(0.5, 0.999)) for each in (critic, generator)]
    loss_of = nn.functional.binary_cross_entropy_with_logits
    for step in range(GAN_STEPS):
        rows = torch.arange(step * BATCH, (step + 1) * BATCH) % len(x)
        made = generator(torch.randn(BATCH, LATENT, 1, 1))
        real, fake = critic(x[rows]), critic(made.detach())
        losses = [loss_of(real, torch.ones_like(real)) + loss_of(fake, torch.zeros_like(fake))]
        optimisers[0].zero_grad()
        losses[0].backward()
        optimisers[0].step()
        judged = critic(made)
        optimisers[1].zero_grad()
        loss_of(judged, torch.ones_like(judged)).backward()
        optimisers[1].step()
    torch.save({"epoch": 1, "model_state_dict": generator.state_dict()}, folder / "generator.pt")
