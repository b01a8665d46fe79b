"""What is searched, and how: settings, rows, and the search that they make."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import InvalidArgument
from earwitness.vocabulary.limits import MAX_SEED
from earwitness.vocabulary.objective import Objective

FloatArray = NDArray[np.float32]
Optimiser = Literal["adam", "sgd", "normalised", "walk", "draws"]
Artefact = Literal["audio", "picture", "trajectory"]
StoppedBy = Literal["completed", "deadline"]


@dataclass(frozen=True)
class Target:
    """Where rows stop: at activations `low` to `high`, spread over the rows by their seeds; with `quantile` at such
    quantiles, 0 to 1, of the activations that the row's reference keeps."""

    low: float
    high: float
    quantile: bool = False


@dataclass(frozen=True)
class Settings:
    """Settings of a search; `None` leaves the choice to the server, and answers have every field that the optimiser
    uses."""

    optimiser: Optimiser | None = None
    learning_rate: float | None = None
    prior_weight: float | None = None
    steps: int | None = None
    weight_decay: float | None = None
    target: Target | None = None
    start_draws: int | None = None
    draws: int | None = None


@dataclass(frozen=True)
class Nearness:
    """How near explanations are to a reference's rows: in which `layers` (none: all that it keeps), to how many of its
    rows (0: the server's choice). `diversity`, 0 to 1, is what being unlike the other kept rows counts beside it."""

    layers: tuple[str, ...] = ()
    neighbour_count: int = 0
    diversity: float = 0.0


def require_seeds(first: int, count: int, field: str = "seed") -> None:
    """Raises: InvalidArgument when not all of the seeds first, first + 1, ... are such as a request can hold."""
    if not 0 <= first <= MAX_SEED - (count - 1):
        counted = "" if count == 1 else f", and the last of {count}, {first + count - 1}, too"
        raise InvalidArgument(field, f"got {first}; a seed is 0 to 2^63 - 1 = {MAX_SEED}{counted}")


@dataclass(frozen=True)
class Row:
    """One row of a search: its seed, and an objective, settings or a reference of its own.

    Raises: InvalidArgument for the seed.
    """

    seed: int
    objective: Objective | None = None
    settings: Settings | None = None
    reference: str | None = None

    def __post_init__(self) -> None:
        require_seeds(self.seed, 1)


@dataclass(frozen=True)
class Search:
    """The latent optimisation of a batch of rows; `objective`, `settings` and `reference` hold for rows without their
    own.

    `keep_count` rows of each objective come back, the nearest to what its reference keeps; all where it is 0.
    """

    model: str
    rows: tuple[Row, ...]
    objective: Objective | None = None
    settings: Settings = Settings()
    reference: str | None = None
    keep_count: int = 0
    nearness: Nearness = Nearness()

    @classmethod
    def of(
        cls, model: str, objective: Objective, *, row_count: int, seed: int = 0, settings: Settings | None = None
    ) -> "Search":
        """`row_count` rows of one objective with the seeds `seed, seed + 1, ...`.

        Raises: InvalidArgument when there are not so many.
        """
        require_seeds(seed, row_count)
        rows = tuple(Row(seed + index) for index in range(row_count))
        return cls(model, rows, objective, settings or Settings())


@dataclass(frozen=True)
class Progress:
    """How far a search is: steps done and in all, each row's best activation so far, seconds left if known."""

    step: int
    step_count: int
    best_activations: tuple[float, ...]
    time_left_s: float | None


@dataclass(frozen=True, eq=False)
class Trajectory:
    """What one row went through, each float32 `[steps + 1]`, or shorter where the row was stopped: activation, ‖z‖ and
    ‖gradient‖, prior included (0 of a row that needs no gradient). Entry s is the iterate after s steps, entry 0 the
    first latent."""

    activations: FloatArray
    latent_norms: FloatArray
    gradient_norms: FloatArray
