"""What a detector makes of many excerpts, of which a few are held at a time: its last hidden layer, their bands."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from earwitness.training.excerpts import ExcerptSource
from earwitness.training.networks import Detector, Generator
from earwitness.training.networks.detector import rows_at_once

Excerpts = NDArray[np.float32]


@dataclass(frozen=True)
class Measured:
    """Of N excerpts: a detector's last hidden layer `[N, units]`; mean and standard deviation of bands `[bands]`."""

    embedding: NDArray[np.float32]
    band_mean: NDArray[np.float64]
    band_std: NDArray[np.float64]


def measure(network: Detector, batches: Iterable[Excerpts]) -> Measured:
    """All that is to be known of excerpts that come in batches `[B, bands, frames]`."""
    embeddings = list[NDArray[np.float32]]()
    sums = list[NDArray[np.float64]]()
    with torch.inference_mode():
        for batch in batches:
            embeddings.append(network.embed(torch.from_numpy(batch)[:, None]).numpy())
            exact = batch.astype(np.float64)
            count = np.full(batch.shape[1], batch.shape[0] * batch.shape[2])
            sums.append(np.stack([count, exact.sum((0, 2)), np.square(exact).sum((0, 2))]))
    count, total, squares = np.sum(sums, axis=0)
    mean = total / count
    return Measured(np.concatenate(embeddings), mean, np.sqrt(np.maximum(squares / count - mean**2, 0)))


def unit_count(network: Detector, size: tuple[int, int]) -> int:
    """Units of the last hidden layer, for excerpts of (bands, frames)."""
    with torch.inference_mode():
        return int(network.embed(torch.zeros(1, 1, *size)).shape[1])


def drawn(data: ExcerptSource, count: int, seed: int, recordings: Sequence[int] | None = None) -> Iterator[Excerpts]:
    """`count` real excerpts, drawn uniformly; of these recordings alone, where some are given."""
    rng = np.random.default_rng(seed)
    for rows in _row_counts(count, data.profile.excerpt_shape):
        yield data.random_excerpts(rng, rows, recordings)[0]


def generated(generator: Generator, count: int, seed: int) -> Iterator[Excerpts]:
    """`count` excerpts of a generator; equal seeds take equal latents."""
    latents = torch.randn(count, generator.latent_size, generator=torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        for some in torch.split(latents, rows_at_once(generator.size)):
            yield generator(some)[:, 0].numpy()


def band_noise(like: Measured, frames: int, floor: float, seed: int) -> Iterator[Excerpts]:
    """As many excerpts of Gaussian noise with the mean and the variance of each band, none below the floor."""
    rng = np.random.default_rng(seed)
    mean, std = (values.astype(np.float32)[:, None] for values in (like.band_mean, like.band_std))
    for rows in _row_counts(len(like.embedding), (len(mean), frames)):
        noise = rng.standard_normal((rows, len(mean), frames), np.float32)
        yield np.maximum(mean + std * noise, np.float32(floor))


def _row_counts(count: int, size: tuple[int, int]) -> list[int]:
    """Rows of the batches of `count` excerpts of (bands, frames)."""
    most = rows_at_once(size)
    return [min(most, count - first) for first in range(0, count, most)]
