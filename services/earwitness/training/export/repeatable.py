"""Whether a latent has one activation: the same in every pass, and whatever the other rows of its batch are."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from earwitness.training.export.discovery import entered_layers
from earwitness.training.export.errors import NotRepeatable
from earwitness.training.export.pair import Pair

ROWS = 3
TOLERANCE = 1e-3
"""Relative difference that rounding does not make; what is finer is seen when served graphs are held against torch."""

RECURRENT = ("(GRU)", "(LSTM)", "(RNN)")
SWAPPED = "It takes time first, then the batch; batch_first=True in the module where the batch is first"
MIXED = (
    "Means, maxima and the like are taken over axes behind the first alone; batch norm needs its running statistics: "
    "track_running_stats=True in the module, running_mean, running_var and training=self.training in F.batch_norm"
)
"""What to do about a row that depends on others, by the layer where it begins to."""

Step = tuple[Any, str, list[Tensor]]
"""An operator, the layer that ran it in words, and what came out."""


def require_repeatable(pair: Pair) -> None:
    """Four passes over the chain.

    Raises: NotRepeatable naming the operator and the layer where two passes part: over the same rows, or over fewer.
    """
    z = torch.randn(ROWS, pair.latent_size, generator=torch.Generator().manual_seed(0))
    whole = _units(pair, z)
    again = _units(pair, z)
    if not torch.equal(whole, again):
        parted = _parted(pair, z, z)
        if any(map(_is_random, parted)):
            raise NotRepeatable(
                f"{_in_words(parted)} draws random numbers in eval mode too, so that a latent has no activation of its "
                "own. Functional dropout takes training=self.training; noise is for training alone, or fixed: drawn "
                "once and kept by register_buffer"
            )
        if not _alike(whole, again):
            raise NotRepeatable(
                f"{_in_words(parted)} gives another result when the same is given again, so that a latent has no "
                "activation of its own. Random numbers of numpy or Python do that, and values that one pass keeps for "
                "the next; forward has to depend on its input alone"
            )
    # A recurrent layer that takes rows for steps lets each know those before it only.
    for fewer, end in ((z[:-1], False), (z[1:], True)):
        if _alike(whole, _units(pair, fewer), end):
            continue
        where = _in_words(_parted(pair, z, fewer, end))
        raise NotRepeatable(
            f"{where} makes a row's result depend on the other rows of its batch, and those of a search are not those "
            f"of training. {SWAPPED if any(kind in where for kind in RECURRENT) else MIXED}"
        )


def _units(pair: Pair, z: Tensor) -> Tensor:
    weights = pair.weights()
    with torch.no_grad():
        return torch.cat(pair.classify(weights, pair.generate(weights, z)), dim=1)


_Parted = list[tuple[Any, str]]
"""Operators, and the layers that ran them in words."""


def _parted(pair: Pair, z: Tensor, other: Tensor, end: bool = False) -> _Parted:
    """The operators that two passes take different results from, however little they differ where they are random."""
    one, two = _steps(pair, z), _steps(pair, other)
    return [
        (operator, layer)
        for (operator, layer, got), (_, _, want) in zip(one, two, strict=False)
        if not all(
            _equal(*both) if torch.Tag.nondeterministic_seeded in operator.tags else _alike(*both, end)
            for both in zip(got, want, strict=False)
        )
    ]


def _is_random(parted: tuple[Any, str]) -> bool:
    return torch.Tag.nondeterministic_seeded in parted[0].tags


def _in_words(parted: _Parted) -> str:
    """The first of the operators; a random one before others, for memory that is not yet written to differs as well,
    and what is made of it."""
    for operator, layer in [each for each in parted if _is_random(each)] or parted:
        return f"{layer}: operator {operator}"
    return "networks: an operator"


def _steps(pair: Pair, z: Tensor) -> list[Step]:
    with entered_layers(pair.generator) as generator, entered_layers(pair.classifier) as classifier:
        recorder = _Recorder({"generator": generator, "classifier": classifier})
        with recorder:
            _units(pair, z)
    return recorder.steps


class _Recorder(TorchDispatchMode):
    """Keeps what every operator gives."""

    def __init__(self, entered: Mapping[str, Sequence[str]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._entered = entered
        self.steps: list[Step] = []

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        given = result if isinstance(result, tuple | list) else [result]
        kept = [each.clone() for each in given if isinstance(each, Tensor)]
        self.steps.append((func, self._where(), kept))
        return result

    def _where(self) -> str:
        """The role of the network that runs, and its innermost layer that does."""
        for role, layers in self._entered.items():
            if layers:
                return role if layers[-1] == "it" else f"{role}, {layers[-1]}"
        return "networks"


def _equal(got: Tensor, want: Tensor) -> bool:
    return got.shape == want.shape and torch.equal(got, want)


def _alike(got: Tensor, want: Tensor, end: bool = False) -> bool:
    """Whether the first rows, or at the `end` the last ones, as many as both have, are the same but for rounding."""
    if got.ndim and want.ndim:
        rows = min(len(got), len(want))
        got, want = (each[len(each) - rows :] if end else each[:rows] for each in (got, want))
    if got.shape != want.shape:
        return False
    if not got.is_floating_point():
        return torch.equal(got, want)
    scale = float(want.abs().nan_to_num(posinf=0.0).max()) if want.numel() else 0.0
    return torch.allclose(got, want, rtol=TOLERANCE, atol=TOLERANCE * scale, equal_nan=True)
