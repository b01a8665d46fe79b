"""musicnn's music tagger in numpy, from the checkpoint in its wheel: neither TensorFlow nor its old numpy is needed.

Source: Pons & Serra, "musicnn: pre-trained convolutional neural networks for music audio tagging", 2019 (package and
weights under the ISC licence), the model MTT_musicnn, trained on the MagnaTagATune data set.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.evidence.checkpoint import read_arrays

SAMPLE_RATE_HZ = 16_000
FFT_LENGTH, HOP_LENGTH, BAND_COUNT = 512, 256, 96
FRAME_COUNT = 187
"""Of the three seconds that the network was trained on."""
TAGS = (
    "guitar", "classical", "slow", "techno", "strings", "drums", "electronic", "rock", "fast", "piano", "ambient",
    "beat", "violin", "vocal", "synth", "female", "indian", "opera", "male", "singing", "vocals", "no vocals",
    "harpsichord", "loud", "quiet", "flute", "woman", "male vocal", "no vocal", "pop", "soft", "sitar", "solo", "man",
    "classic", "choir", "voice", "new age", "dance", "male voice", "female vocal", "beats", "harp", "cello", "no voice",
    "weird", "country", "metal", "female voice", "choral",
)  # fmt: skip
"""In the order of the network's outputs."""
_VARIANCE_FLOOR = 1e-3
_TIMBRE_LAYERS, _TEMPO_LAYERS, _MIDDLE_LAYERS = (0, 1), (2, 3, 4), (5, 6, 7)

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Tagged:
    """What the tagger makes of a sound: a probability for each of TAGS [50], and its last hidden layer [200]."""

    probabilities: Array
    embedding: Array


class Tagger:
    """Tags sounds; needs the wheel `musicnn`, of which only the files with the weights are used.

    Raises: ModuleNotFoundError when it is not installed.
    """

    def __init__(self) -> None:
        found = importlib.util.find_spec("musicnn")  # looked up, not imported: it would import TensorFlow
        if found is None or found.origin is None:
            raise ModuleNotFoundError("musicnn is not installed", name="musicnn")
        folder = Path(found.origin).parent / "MTT_musicnn"
        self._arrays = read_arrays(folder / ".index", folder / ".data-00000-of-00001")

    def hear(self, waveform: Array) -> Tagged:
        """What it makes of a mono waveform [samples] at SAMPLE_RATE_HZ, repeated to three seconds, or cut there."""
        import librosa

        mel = librosa.feature.melspectrogram(
            y=waveform, sr=SAMPLE_RATE_HZ, hop_length=HOP_LENGTH, n_fft=FFT_LENGTH, n_mels=BAND_COUNT
        ).T
        mel = np.resize(mel, (FRAME_COUNT, BAND_COUNT))  # repeats whole frames
        return self._run(np.log10(1e4 * mel + 1).astype(np.float32))

    def _run(self, x: Array) -> Tagged:
        """The network on one patch [FRAME_COUNT, BAND_COUNT]."""
        x = self._normalised(x[:, :, None], 0)
        wide = _padded(x, 7)
        front = [self._convolved(wide, layer).max(axis=1) for layer in _TIMBRE_LAYERS]
        front += [self._convolved(_padded(x, self._length(layer)), layer).max(axis=1) for layer in _TEMPO_LAYERS]
        stages = [np.concatenate(front, axis=1)]
        for layer in _MIDDLE_LAYERS:
            found = self._convolved(_padded(stages[-1][:, :, None], 7), layer)[:, 0]
            stages.append(found if layer == _MIDDLE_LAYERS[0] else found + stages[-1])
        every = np.concatenate(stages, axis=1)
        pooled = np.stack([every.max(axis=0), every.mean(axis=0)], axis=1).reshape(-1)
        hidden = self._normalised(pooled, 9) @ self._array("dense", 0, "kernel") + self._array("dense", 0, "bias")
        embedding = self._normalised(np.maximum(hidden, 0), 10)
        logits = embedding @ self._array("dense", 1, "kernel") + self._array("dense", 1, "bias")
        return Tagged(1 / (1 + np.exp(-logits)), embedding)

    def _convolved(self, x: Array, layer: int) -> Array:
        """A convolution of [time, bands, channels] without padding, its rectifier and its normalisation."""
        kernel = self._array("conv2d", layer, "kernel")
        windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], axis=(0, 1))
        flat = windows.transpose(0, 1, 3, 4, 2).reshape(*windows.shape[:2], -1)
        found = flat @ kernel.reshape(-1, kernel.shape[-1]) + self._array("conv2d", layer, "bias")
        return self._normalised(np.maximum(found, 0), layer + 1)

    def _normalised(self, x: Array, layer: int) -> Array:
        scale, shift, mean, variance = (
            self._array("batch_normalization", layer, name)
            for name in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return np.asarray((x - mean) * (scale / np.sqrt(variance + _VARIANCE_FLOOR)) + shift)

    def _length(self, layer: int) -> int:
        return int(self._array("conv2d", layer, "kernel").shape[0])

    def _array(self, kind: str, layer: int, name: str) -> Array:
        return self._arrays[f"{kind}_{layer}/{name}" if layer else f"{kind}/{name}"]


def _padded(x: Array, length: int) -> Array:
    """Zeros in time around [time, ...] so that a kernel of that length keeps the number of frames."""
    rest: Any = [(0, 0)] * (x.ndim - 1)
    return np.pad(x, [((length - 1) // 2, length // 2), *rest])
