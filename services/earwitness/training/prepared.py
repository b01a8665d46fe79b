"""Batches by number, and the processes that prepare them ahead of the network."""

from collections.abc import Iterator
from typing import Protocol

from torch import Tensor
from torch.utils.data import DataLoader, Dataset

Batch = tuple[Tensor, Tensor]


class Sampler(Protocol):
    """Gives the same batch for a number however often, and by whichever process, it is asked."""

    def batch(self, number: int) -> Batch: ...


def prepared(sampler: Sampler, numbers: range, workers: int) -> Iterator[Batch]:
    """The batches of those numbers, in order, prepared ahead by that many processes.

    0 workers prepare each batch when it is asked for. The batches do not depend on `workers`.
    """
    loader: DataLoader[Batch] = DataLoader(_Numbered(sampler), batch_size=None, sampler=numbers, num_workers=workers)
    yield from loader


class _Numbered(Dataset[Batch]):
    """Batches by number, for torch's loader."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def __getitem__(self, number: int) -> Batch:
        return self._sampler.batch(number)
