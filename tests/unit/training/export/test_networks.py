"""Search graphs of networks that are not ours, against torch autograd and finite differences."""

from functools import cache

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from earwitness.training.export.onnx_writer import to_onnx
from earwitness.training.export.pair import make_pair
from earwitness.training.export.search_graph import INPUTS, OUTPUTS, search_graph
from tests.unit.training.export.networks import CASES, LATENT, Case, build
from tests.unit.training.export.torch_side import answer, run, session_of, units_of_layers

Array = NDArray[np.float32]
PRIOR = 0.05


@cache
def exported(name: str) -> tuple[Case, onnxruntime.InferenceSession]:
    case = build(name)
    pair = make_pair(case.generator, case.classifier, case.layers, LATENT)
    return case, session_of(to_onnx(search_graph(pair), INPUTS, OUTPUTS).SerializeToString())


def draw(case: Case, batch: int, seed: int) -> tuple[Array, Array]:
    """Latents, and for every row a direction over the units of one layer, layers in turn."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((batch, LATENT)).astype(np.float32)
    with torch.no_grad():
        sizes = [units.shape[1] for units in units_of_layers(case, torch.from_numpy(z)).values()]
    ends = np.cumsum(sizes)
    weights = np.zeros((batch, ends[-1]), np.float32)
    for row in range(batch):
        layer = (len(sizes) - 1 - row) % len(sizes)
        weights[row, ends[layer] - sizes[layer] : ends[layer]] = rng.standard_normal(sizes[layer])
    return z, weights


@pytest.fixture(params=sorted(CASES))
def served(request: pytest.FixtureRequest) -> tuple[Case, onnxruntime.InferenceSession]:
    return exported(request.param)


@pytest.mark.parametrize("batch", [1, 3, 50])
@pytest.mark.parametrize("sense", [1, -1], ids=["maximise", "minimise"])
def test_agrees_with_autograd(served: tuple[Case, onnxruntime.InferenceSession], batch: int, sense: int) -> None:
    case, session = served
    z, weights = draw(case, batch, seed=batch)
    weights *= np.float32(sense)
    want = answer(case, z, weights)
    got = run(session, z=z, unit_weights=weights, prior_weight=np.zeros((batch, 1), np.float32))
    scale = np.abs(want.activation).max()
    np.testing.assert_allclose(got["activation"][:, 0], want.activation, rtol=1e-5, atol=1e-5 * scale)
    rows = np.maximum(np.abs(want.gradient).max(1), 1e-3 * np.abs(want.gradient).max())
    assert (np.abs(got["gradient"] - want.gradient).max(1) / rows).max() <= 1e-4

    drawn = run(session, z=z, unit_weights=weights, prior_weight=np.full((batch, 1), PRIOR, np.float32))
    np.testing.assert_array_equal(drawn["activation"], got["activation"])
    objective = want.activation - PRIOR * (z.astype(np.float64) ** 2).sum(1)
    np.testing.assert_allclose(drawn["objective"][:, 0], objective, rtol=1e-5, atol=1e-5 * scale)
    np.testing.assert_allclose(drawn["gradient"], want.gradient - 2 * PRIOR * z, rtol=1e-4, atol=1e-4 * rows.max())


def test_agrees_with_finite_differences(served: tuple[Case, onnxruntime.InferenceSession]) -> None:
    case, session = served
    z, weights = draw(case, batch=2 * (1 + len(case.layers)), seed=7)
    gradient = run(session, z=z, unit_weights=weights, prior_weight=np.zeros((len(z), 1), np.float32))["gradient"]
    step = 1e-6
    for axis in range(LATENT):
        offset = step * np.eye(LATENT)[axis]
        ahead, behind = (answer(case, z + side * offset, weights).activation for side in (1, -1))
        slope = (ahead - behind) / (2 * step)
        assert np.abs(gradient[:, axis] - slope).max() <= 1e-4 * np.abs(gradient).max()


def test_rows_do_not_meet(served: tuple[Case, onnxruntime.InferenceSession]) -> None:
    case, session = served
    z, weights = draw(case, batch=5, seed=11)
    prior = np.full((5, 1), PRIOR, np.float32)
    together = run(session, z=z, unit_weights=weights, prior_weight=prior)
    for row in range(5):
        alone = run(session, z=z[[row]], unit_weights=weights[[row]], prior_weight=prior[[row]])
        for name, value in alone.items():
            np.testing.assert_allclose(value[0], together[name][row], rtol=1e-5, atol=1e-6, err_msg=name)
    others, other_weights = draw(case, batch=5, seed=12)
    others[0], other_weights[0] = z[0], weights[0]
    changed = run(session, z=others, unit_weights=other_weights, prior_weight=prior)
    for name, value in changed.items():
        np.testing.assert_array_equal(value[0], together[name][0], err_msg=name)


def test_ties_are_there() -> None:
    """The case `ties` is only worth its name when windows of equal maxima decide gradients."""
    case = build("ties")
    with torch.no_grad():
        x = case.classifier[:2](case.generator(torch.randn(4, LATENT, generator=torch.Generator().manual_seed(0))))
    windows = x.unfold(2, 3, 3).unfold(3, 3, 3).flatten(4)
    tied = (windows == windows.amax(4, keepdim=True)).sum(4)
    assert (tied > 1).float().mean() > 0.2
    assert (tied == 1).float().mean() > 0.2
