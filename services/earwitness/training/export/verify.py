"""Proof, at export, that the served graphs compute what torch computes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from earwitness.inference.metadata import Layer, Role
from earwitness.training.export.errors import FrozenGradient, ParityError
from earwitness.training.export.forward_graphs import PROBABILITY
from earwitness.training.export.onnx_writer import MAX_BATCH_SIZE
from earwitness.training.export.pair import Pair
from earwitness.training.export.reference import Array, Exact, Reference, Truth, rows_at_once

BATCHES = (1, 3, 50)
"""Rows of the batches; of the last more, where the layers are so many, for two rows of each."""
OUTPUT_TOLERANCE = 1e-5
GRADIENT_TOLERANCE = 1e-4

STILL = 1e-12
STILL_ROWS = 4
"""Units that move less than `STILL` of what their layer returns, in float64, over so many latents, do not move."""
STEP = 1e-6
"""Half the distance of a central difference, in the latent's own unit (its prior standard deviation)."""


SUSPECT = 1e-5
NUDGE = 1e-3
ATTEMPTS = 6
"""A row whose gradient is off by more than `SUSPECT` is tried again at latents `NUDGE` away. Where a unit sits on the
kink of its activation, or two elements of a pooling window are all but equal, rounding decides which one-sided gradient
comes out, in torch as here; a wrong graph is wrong at every latent nearby."""


@dataclass(frozen=True)
class ParityReport:
    """Worst errors over all layers, batches and both senses, against torch in float64.

    Each is relative to the layer's largest true value.
    """

    batches: tuple[int, ...]
    generator: float
    classifier: float
    activation: float
    gradient: float
    """Against autograd."""
    finite_differences: float
    """Against central differences of the activation, relative to the gradient's length."""
    row_dependence: float
    """Change of a row's results when the rest of its batch changes."""
    kinks: int
    """Times that a row's gradient had to be compared at a neighbouring latent."""


@dataclass(frozen=True)
class Rows:
    """A batch to check; row i looks at units of layer number `layer[i]`."""

    z: Array
    unit_weights: Array
    layer: NDArray[np.int64]
    truth: Truth
    searched: dict[tuple[int, float], dict[str, Array]] = field(default_factory=dict)
    """What the search graph said of them, by sense and prior weight: several checks look at the same."""


def verify(pair: Pair, models: Mapping[Role, bytes], seed: int = 0) -> ParityReport:
    """Compares the three models with torch at batches 1, 3 and 50, maximising and minimising, units of every layer.

    The last batch has two rows of every layer at least. Where so many rows of a network would not fit into memory, or
    are more than it serves at once, the models are given them in smaller batches.

    Raises: ParityError naming what differs and by how much; FrozenGradient when a layer's gradient is zero throughout,
    or when the output's does not depend on the latent.
    """
    check = _Check(pair, {role: _session(role, model) for role, model in models.items()}, np.random.default_rng(seed))
    check.torch_itself()
    return ParityReport(
        batches=check.batch_sizes(),
        generator=check.generator(),
        classifier=check.classifier(),
        activation=check.activation(),
        gradient=check.gradient(),
        finite_differences=check.finite_differences(),
        row_dependence=check.row_dependence(),
        kinks=check.kinks,
    )


class _Check:
    def __init__(
        self, pair: Pair, sessions: Mapping[Role, onnxruntime.InferenceSession], rng: np.random.Generator
    ) -> None:
        self._layers, self._head = pair.layers, pair.head
        self._latent_size, self._unit_count = pair.latent_size, pair.unit_count
        self._sessions = sessions
        self._rng = rng
        self._reference = Reference(pair)
        self._rows_at_once = min(rows_at_once(pair), MAX_BATCH_SIZE)
        sizes = (*BATCHES[:-1], max(BATCHES[-1], 2 * len(pair.layers)))
        self._batches = [self._rows(*self._draw(size)) for size in sizes]
        self.kinks = 0

    def batch_sizes(self) -> tuple[int, ...]:
        """Rows that the models were given at once."""
        return tuple(min(len(rows.z), self._rows_at_once) for rows in self._batches)

    def torch_itself(self) -> None:
        """Raises: ParityError when torch gives two answers; FrozenGradient when the gradient leads nowhere."""
        rows = self._batches[-1]
        again = self._reference.units(rows.z[:3].astype(np.float64))
        _within("torch: a second pass, over three rows only,", _relative(again, rows.truth.units[:3]), OUTPUT_TOLERANCE)
        spread = self._reference.spread(rows.z[:STILL_ROWS].astype(np.float64))
        for layer, moved in zip(self._layers, spread, strict=True):
            if moved < STILL:
                raise FrozenGradient(
                    f"layer {layer.name!r}: its units are the same at every latent tried, to the last digits. Behind "
                    "an instance norm a channel's spatial mean always is: name the module before the normalisation, or "
                    "the one behind its activation"
                )
        for layer, largest in zip(self._layers, self._gradient_scale(), strict=True):
            if largest == 0:
                raise FrozenGradient(
                    f"layer {layer.name!r}: the gradient of every unit tried is zero at every latent tried; it does "
                    "not depend on the latent, or its units are dead; name the layers to serve to leave it out"
                )
        output = self._output
        weights = np.zeros((len(BATCHES), self._unit_count), np.float32)
        weights[:, output.first_unit] = 1
        gradient = self._reference.truth(rows.z[: len(weights)], weights).gradient
        if np.allclose(gradient, gradient[0], rtol=1e-9, atol=0):
            raise FrozenGradient(
                f"layer {output.name!r}: the gradient is the same at every latent, so there is nothing to search; "
                "generator and classifier together are a linear map"
            )

    def generator(self) -> float:
        """Worst relative error of the spectrogram."""
        return max(
            _within("generator: spectrogram", _relative(self._generate(rows), rows.truth.spectrogram), OUTPUT_TOLERANCE)
            for rows in self._batches
        )

    def classifier(self) -> float:
        """Worst relative error of the probability and of any layer's units, on true spectrograms."""
        worst = 0.0
        for rows in self._batches:
            got = self._run("classifier", spectrogram=rows.truth.spectrogram.astype(np.float32))
            want = {layer.name: rows.truth.units[:, _units(layer)] for layer in self._layers}
            returned, output = torch.from_numpy(rows.truth.returned), torch.from_numpy(want[self._output.name])
            if (probability := self._head.served(returned, output)) is not None:
                want[PROBABILITY] = probability.numpy()
            for name, true in want.items():
                worst = max(worst, _within(f"classifier: {name}", _relative(got[name], true), OUTPUT_TOLERANCE))
        return worst

    def activation(self) -> float:
        """Worst error of activation and objective, with a prior weight, relative to the layer's largest sum."""
        scale = self._largest(lambda rows: np.abs(rows.unit_weights * rows.truth.units).sum(1))
        worst = 0.0
        for rows in self._batches:
            true = (rows.unit_weights * rows.truth.units).sum(1)
            penalty = 0.01 * (rows.z.astype(np.float64) ** 2).sum(1)
            for sense in (1, -1):
                got = self._search(rows, sense, 0.01)
                activation = np.abs(got["activation"][:, 0] - sense * true) / scale[rows.layer]
                objective = np.abs(got["objective"][:, 0] - (sense * true - penalty)) / (scale[rows.layer] + penalty)
                error = float(np.max([activation, objective]))
                worst = max(worst, _within("search: activation or objective", error, OUTPUT_TOLERANCE))
        return worst

    def gradient(self) -> float:
        """Worst relative error against autograd; with a prior weight the gradient has to move by −2·prior·z."""
        scale = self._gradient_scale()

        def errors(rows: Rows) -> Exact:
            differences = []
            for sense in (1, -1):
                for weight in (0.0, 0.01):
                    pull = 2 * weight * rows.z.astype(np.float64)
                    got = self._search(rows, sense, weight)["gradient"]
                    error = np.abs(got - (sense * rows.truth.gradient - pull)).max(1)
                    differences.append(error / (scale[rows.layer] + np.abs(pull).max(1)))
            return np.asarray(np.max(differences, axis=0))

        return max(self._settle("gradient against autograd", rows, errors) for rows in self._batches)

    def finite_differences(self) -> float:
        """Worst error of the gradient's component along each row's random direction, relative to its length."""

        def errors(rows: Rows) -> Exact:
            direction = self._rng.standard_normal(rows.z.shape)
            direction /= np.linalg.norm(direction, axis=1, keepdims=True)
            ahead, behind = (self._reference.units(rows.z + side * STEP * direction) for side in (1, -1))
            slope = ((ahead - behind) * rows.unit_weights).sum(1) / (2 * STEP)
            differences = []
            for sense in (1, -1):
                gradient = self._search(rows, sense, 0.0)["gradient"].astype(np.float64)
                length = np.maximum(np.linalg.norm(gradient, axis=1), np.finfo(np.float32).tiny)
                differences.append(np.abs((gradient * direction).sum(1) - sense * slope) / length)
            return np.asarray(np.max(differences, axis=0))

        return max(self._settle("gradient against finite differences", rows, errors) for rows in self._batches)

    def row_dependence(self) -> float:
        """Relative change of the first row's results when all others become other rows."""
        rows = self._batches[-1]
        z, weights, _ = self._draw(len(rows.z))
        z[0], weights[0] = rows.z[0], rows.unit_weights[0]
        before, after = self._search(rows, 1, 0.01), self._ask(z, weights, 0.01)
        error = max(_relative(after[name][:1], before[name][:1]) for name in before)
        return _within("search: row 0 when the other rows change", error, OUTPUT_TOLERANCE)

    def _draw(self, batch: int) -> tuple[Array, Array, NDArray[np.int64]]:
        """Latents, weights and layers of rows over all layers in turn, the last first.

        First each looks at a random direction over its layer's units, then at a single unit.
        """
        z = self._rng.standard_normal((batch, self._latent_size)).astype(np.float32)
        weights = np.zeros((batch, self._unit_count), np.float32)
        chosen = (len(self._layers) - 1 - np.arange(batch)) % len(self._layers)
        for row, index in enumerate(chosen):
            units = weights[row, _units(self._layers[index])]
            if (row // len(self._layers)) % 2:
                units[self._rng.integers(len(units))] = 1
            else:
                units[:] = self._rng.standard_normal(len(units))
        return z, weights, chosen

    def _rows(self, z: Array, unit_weights: Array, layer: NDArray[np.int64]) -> Rows:
        return Rows(z, unit_weights, layer, self._reference.truth(z, unit_weights))

    def _settle(self, what: str, rows: Rows, errors: Callable[[Rows], Exact]) -> float:
        """Worst error over the rows, each row's the least of its attempts.

        Raises: ParityError when that is too large.
        """
        error = errors(rows)
        for _ in range(ATTEMPTS):
            wrong = np.flatnonzero(~(error <= SUSPECT))
            if not len(wrong):
                break
            self.kinks += len(wrong)
            nudge = NUDGE * self._rng.standard_normal((len(wrong), self._latent_size)).astype(np.float32)
            near = self._rows(rows.z[wrong] + nudge, rows.unit_weights[wrong], rows.layer[wrong])
            error[wrong] = np.fmin(errors(near), error[wrong])
        worst = int(np.argmax(np.nan_to_num(error, nan=np.inf)))
        layer = self._layers[rows.layer[worst]].name
        return _within(f"search: {what}, layer {layer!r}", float(error[worst]), GRADIENT_TOLERANCE)

    def _gradient_scale(self) -> Exact:
        return self._largest(lambda rows: np.abs(rows.truth.gradient).max(1))

    def _largest(self, value: Callable[[Rows], Exact]) -> Exact:
        """The largest value, over the rows of all batches, in each layer."""
        largest = np.zeros(len(self._layers))
        for rows in self._batches:
            np.maximum.at(largest, rows.layer, value(rows))
        return largest

    @property
    def _output(self) -> Layer:
        return next(layer for layer in self._layers if layer.kind == "output")

    def _generate(self, rows: Rows) -> Array:
        return self._run("generator", z=rows.z)["spectrogram"]

    def _search(self, rows: Rows, sense: int, prior: float) -> dict[str, Array]:
        asked = (sense, prior)
        if asked not in rows.searched:
            rows.searched[asked] = self._ask(rows.z, np.float32(sense) * rows.unit_weights, prior)
        return rows.searched[asked]

    def _ask(self, z: Array, unit_weights: Array, prior: float) -> dict[str, Array]:
        prior_weight = np.full((len(z), 1), prior, np.float32)
        return self._run("search", z=z, unit_weights=unit_weights, prior_weight=prior_weight)

    def _run(self, role: Role, **inputs: Array) -> dict[str, Array]:
        session = self._sessions[role]
        names = [output.name for output in session.get_outputs()]
        count = len(next(iter(inputs.values())))
        parts = [
            session.run(names, {name: rows[first : first + self._rows_at_once] for name, rows in inputs.items()})
            for first in range(0, count, self._rows_at_once)
        ]
        return {name: np.concatenate(values) for name, values in zip(names, zip(*parts, strict=True), strict=True)}


def _session(role: Role, model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as err:  # onnxruntime's own errors share no base class
        raise ParityError(f"{role}: ONNX Runtime {onnxruntime.__version__} cannot load the model: {err}") from err


def _units(layer: Layer) -> slice:
    return slice(layer.first_unit, layer.first_unit + layer.unit_count)


def _relative(got: NDArray[Any], want: NDArray[Any]) -> float:
    return float(np.abs(got - want).max() / max(np.abs(want).max(), np.finfo(np.float32).tiny))


def _within(what: str, error: float, tolerance: float) -> float:
    if not error <= tolerance:
        raise ParityError(
            f"{what} is off by {error:.1e} relative to torch, allowed is {tolerance:.0e}; the bundle was not written. "
            "If an operator rule of ours is at fault, please report the networks"
        )
    return error
