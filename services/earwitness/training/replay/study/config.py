"""What a study trains: networks × amounts of data × seeds, a run folder each.

<out>/runs/<network>[-more]-s<seed>/    a run of `train replay`; scores/ in it holds those of its best network
<out>/spectrograms/                     shared by all runs
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from earwitness.errors import InvalidArgument
from earwitness.training.networks.replay import NETWORKS, network_spec
from earwitness.training.run_folder import DeviceName
from earwitness.training.train_replay import ReplayTrainingConfig

SMALLEST_FIRST: Final = tuple(sorted(NETWORKS, key=("bulbul", "pindrop", "compact", "sparrow", "stc_lcnn").index))
"""By what an epoch costs, so that the table fills early."""


@dataclass(frozen=True, order=True)
class Cell:
    """A row of the table: one network with one amount of data, over all seeds."""

    network: str
    more_data: bool

    @property
    def data(self) -> str:
        """The amount of data in words."""
        return "more data" if self.more_data else "one window"

    def run_name(self, seed: int) -> str:
        """The run folder's."""
        return f"{self.network}{'-more' if self.more_data else ''}-s{seed}"


@dataclass(frozen=True)
class StudyConfig:
    """A study in `out`; what is not given is as in `ReplayTrainingConfig`."""

    out: Path
    networks: tuple[str, ...] = SMALLEST_FIRST
    more_data: tuple[bool, ...] = (False, True)
    seeds: int = 1
    epochs: int | None = None
    patience: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    dropout: float | None = None
    workers: int = 1
    threads: int | None = None
    device: DeviceName = "auto"

    def __post_init__(self) -> None:
        for name in ("networks", "more_data"):
            if not getattr(self, name):
                raise InvalidArgument(name, "got none, expected at least one")
        for network in self.networks:
            network_spec(network)
        if self.seeds < 1:
            raise InvalidArgument("seeds", f"got {self.seeds}, expected at least 1")
        self.training(Cell(self.networks[0], False), 0)

    @property
    def cells(self) -> list[Cell]:
        """Rows in the order in which they are trained: all of little data first."""
        return [Cell(network, more) for more in sorted(set(self.more_data)) for network in dict.fromkeys(self.networks)]

    @property
    def spectrograms(self) -> Path:
        """Where the runs keep them."""
        return self.out / "spectrograms"

    def runs(self) -> Iterator[tuple[Cell, int]]:
        """Every run's cell and seed; the first seed of all cells comes first."""
        for seed in range(self.seeds):
            for cell in self.cells:
                yield cell, seed

    def training(self, cell: Cell, seed: int) -> ReplayTrainingConfig:
        """The run of a cell with a seed.

        Raises: InvalidArgument naming a setting that is out of its range.
        """
        names = ("epochs", "patience", "batch_size", "learning_rate", "dropout")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        plain = ReplayTrainingConfig(
            self.out / "runs" / cell.run_name(seed),
            network=cell.network,
            more_data=cell.more_data,
            seed=seed,
            workers=self.workers,
            threads=self.threads,
            device=self.device,
            cache=self.spectrograms,
        )
        return replace(plain, **given)
