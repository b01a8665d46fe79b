"""The tagger against torch's operators, which neither share code with it, nor its layout."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from earwitness.evidence.checkpoint import read_arrays
from earwitness.evidence.musicnn import BAND_COUNT, FRAME_COUNT, TAGS, Tagger


@pytest.fixture(scope="module")
def folder() -> Path:
    found = importlib.util.find_spec("musicnn")
    assert found, "the tests need musicnn's weights; `make install` installs them"
    assert found.origin
    return Path(found.origin).parent / "MTT_musicnn"


@pytest.fixture(scope="module")
def arrays(folder: Path) -> dict[str, torch.Tensor]:
    found = read_arrays(folder / ".index", folder / ".data-00000-of-00001")
    return {name: torch.from_numpy(values.copy()) for name, values in found.items()}


def test_checkpoint_holds_every_layer(arrays: dict[str, torch.Tensor]) -> None:
    shapes = {name: tuple(values.shape) for name, values in arrays.items() if "Adam" not in name}
    assert shapes["conv2d/kernel"] == (7, 38, 1, 204)
    assert shapes["conv2d_1/kernel"] == (7, 67, 1, 204)
    assert shapes["dense/kernel"] == (1506, 200)
    assert shapes["batch_normalization/gamma"] == (1,)
    assert shapes["dense_1/bias"] == (len(TAGS),)
    assert all(torch.isfinite(values).all() for values in arrays.values())
    assert (arrays["batch_normalization_9/moving_variance"] > 0).all()


def in_torch(arrays: dict[str, torch.Tensor], patch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """musicnn's models.py (build_musicnn) on one patch [frames, bands]: probabilities and the last hidden layer."""

    def numbered(kind: str, layer: int) -> str:
        return f"{kind}_{layer}" if layer else kind

    def normalised(x: torch.Tensor, layer: int) -> torch.Tensor:
        name = numbered("batch_normalization", layer)
        return functional.batch_norm(
            x, arrays[f"{name}/moving_mean"], arrays[f"{name}/moving_variance"], arrays[f"{name}/gamma"],
            arrays[f"{name}/beta"], eps=1e-3,
        )  # fmt: skip

    def convolved(x: torch.Tensor, layer: int) -> torch.Tensor:
        kernel = arrays[f"{numbered('conv2d', layer)}/kernel"].permute(3, 2, 0, 1)
        return normalised(functional.conv2d(x, kernel, arrays[f"{numbered('conv2d', layer)}/bias"]).relu(), layer + 1)

    x = normalised(torch.from_numpy(patch)[None, None], 0)
    front = [convolved(functional.pad(x, (0, 0, 3, 3)), layer).amax(3) for layer in (0, 1)]
    for layer, length in ((2, 128), (3, 64), (4, 32)):
        front.append(convolved(functional.pad(x, (0, 0, (length - 1) // 2, length // 2)), layer).amax(3))
    features = torch.cat(front, 1)  # [1, channels, time]
    stages = [features]
    for layer in (5, 6, 7):
        image = functional.pad(stages[-1].permute(0, 2, 1)[:, None], (0, 0, 3, 3))
        found = convolved(image, layer)[..., 0]
        stages.append(found if layer == 5 else found + stages[-1])
    every = torch.cat(stages, 1)
    pooled = torch.stack([every.amax(2), every.mean(2)], 2).reshape(1, -1)
    hidden = normalised(pooled, 9) @ arrays["dense/kernel"] + arrays["dense/bias"]
    embedding = normalised(hidden.relu(), 10)
    logits = embedding @ arrays["dense_1/kernel"] + arrays["dense_1/bias"]
    return logits.sigmoid()[0].numpy(), embedding[0].numpy()


def test_network_is_that_of_its_authors(arrays: dict[str, torch.Tensor]) -> None:
    import librosa

    sound = np.random.default_rng(0).standard_normal(16_000 * 3).astype(np.float32) / 5
    found = Tagger().hear(sound)
    mel = librosa.feature.melspectrogram(y=sound, sr=16_000, hop_length=256, n_fft=512, n_mels=BAND_COUNT).T
    assert len(mel) >= FRAME_COUNT
    probabilities, embedding = in_torch(arrays, np.log10(1e4 * mel[:FRAME_COUNT] + 1))
    np.testing.assert_allclose(found.probabilities, probabilities, atol=1e-5)
    np.testing.assert_allclose(found.embedding, embedding, atol=1e-3)


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index").write_bytes(b"no index" * 10)
    with pytest.raises(ValueError, match="no index of a TensorFlow checkpoint"):
        read_arrays(tmp_path / "index", tmp_path / "data")
