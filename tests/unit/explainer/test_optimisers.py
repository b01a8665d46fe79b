"""Step rules against hand-computed numbers, against torch, and their independence of other rows."""

import numpy as np
import pytest
import torch

from earwitness.errors import InvalidArgument
from earwitness.explainer.moving import ascent
from earwitness.explainer.optimisers import first_latent
from earwitness.explainer.ways import Resolved

ADAM, SGD, NORMALISED = "adam", "sgd", "normalised"


def begun(latents, settings):
    """An ascent from latents [B, Z] without targets, of the seeds 0 to B - 1."""
    return ascent(latents, settings, range(len(settings)), np.full(len(settings), np.inf, np.float32))


def climb(latents, settings, gradient_of, steps):
    """All latents [steps + 1, B, Z] of an ascent; `gradient_of` maps [n, Z] to [n, Z]."""
    moving = begun(latents, settings)
    rows = np.arange(len(settings))
    path = [moving.ask(rows)]
    for _ in range(steps):
        moving.tell(rows, gradient_of(moving.ask(rows)).astype(np.float32))
        path.append(moving.ask(rows))
    return np.stack(path)


def test_adam_by_hand() -> None:
    # With bias correction the first step is rate · g/|g|; the second from g = 1, then 3:
    # m̂ = (0.9·0.1 + 0.1·3)/0.19, v̂ = (0.999·0.001 + 0.001·9)/0.001999.
    moving = begun(np.zeros((1, 1), np.float32), [Resolved(ADAM, learning_rate=0.5)])
    rows = np.array([0])
    moving.tell(rows, np.array([[1]], np.float32))
    assert moving.ask(rows)[0, 0] == pytest.approx(0.5, rel=1e-6)
    moving.tell(rows, np.array([[3]], np.float32))
    mean, square = 0.39 / 0.19, 0.009999 / 0.001999
    assert moving.ask(rows)[0, 0] == pytest.approx(0.5 + 0.5 * mean / square**0.5, rel=1e-6)


@pytest.mark.parametrize("learning_rate", [1e-3, 0.01, 0.1, 1.0])
def test_adam_walks_with_torch(learning_rate) -> None:
    matrix = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
    start = np.stack([first_latent(seed, 8) for seed in range(3)])

    z = torch.tensor(start, requires_grad=True)
    optimiser = torch.optim.Adam([z], lr=learning_rate, betas=(0.9, 0.999), eps=1e-8, maximize=True)
    expected = [start]
    for _ in range(200):
        optimiser.zero_grad()
        torch.sin(z @ torch.tensor(matrix)).sum().backward()
        optimiser.step()
        expected.append(z.detach().numpy().copy())

    def gradient(latents):
        return np.cos(latents @ matrix) @ matrix.T

    path = climb(start, [Resolved(ADAM, learning_rate=learning_rate)] * 3, gradient, 200)
    np.testing.assert_allclose(path, np.stack(expected), rtol=0, atol=2e-3 * learning_rate + 1e-5)


def test_adam_with_tiny_and_huge_gradients() -> None:
    start = np.zeros((2, 2), np.float32)
    path = climb(start, [Resolved(ADAM, learning_rate=0.1)] * 2, lambda z: np.array([[1e-30, 0], [1e30, -1e30]]), 3)
    # Far below epsilon nothing moves; the square of 1e30 is beyond float32 and freezes the row, without a
    # warning: so the weights of directions have a bound.
    assert np.isfinite(path).all()
    assert (np.abs(path[:, 0]) < 1e-20).all()


def test_sgd_rate_falls_linearly_to_zero() -> None:
    path = climb(
        np.zeros((1, 1), np.float32), [Resolved(SGD, learning_rate=2.0, steps=4)], lambda z: np.ones((1, 1)), 5
    )
    assert path[:, 0, 0].tolist() == [0, 2.0, 3.5, 4.5, 5.0, 5.0]


def test_sgd_rows_have_their_own_length() -> None:
    settings = [Resolved(SGD, learning_rate=1.0, steps=2), Resolved(SGD, learning_rate=1.0, steps=4)]
    path = climb(np.zeros((2, 1), np.float32), settings, lambda z: np.ones((2, 1)), 2)
    assert path[2, :, 0].tolist() == [1.5, 1.75]


def test_normalised_steps_have_one_length() -> None:
    gradients = np.array([[3, 4], [0, 0], [3e-30, -4e-30], [1e30, 0]])
    settings = [Resolved(NORMALISED, learning_rate=rate) for rate in (0.5, 0.5, 0.5, 2.0)]
    path = climb(np.ones((4, 2), np.float32), settings, lambda z: gradients, 2)
    steps = np.array([[0.3, 0.4], [0, 0], [0.3, -0.4], [2, 0]])
    np.testing.assert_allclose(np.diff(path, axis=0), [steps, steps], rtol=1e-6)


@pytest.mark.parametrize("optimiser", [ADAM, SGD, NORMALISED])
def test_weight_decay_multiplies_after_the_step(optimiser) -> None:
    start = np.full((2, 3), 2.0, np.float32)
    settings = [
        Resolved(optimiser, learning_rate=0.5, prior_weight=0, weight_decay=decay, steps=10) for decay in (0.25, 0.0)
    ]
    path = climb(start, settings, lambda z: np.ones_like(z), 1)
    step = 0.5 / 3**0.5 if optimiser is NORMALISED else 0.5
    np.testing.assert_allclose(path[1, 0], (2 + step) * 0.75, rtol=1e-6)
    np.testing.assert_allclose(path[1, 1], 2 + step, rtol=1e-6)
    resting = climb(start, settings, lambda z: np.zeros_like(z), 5)
    np.testing.assert_allclose(resting[5, 0], 2 * 0.75**5, rtol=1e-6)
    assert (resting[5, 1] == start[1]).all()


def mixed(count):
    """`count` different settings of all optimisers that climb."""
    draw = np.random.default_rng(count)
    return [
        Resolved(
            (ADAM, SGD, NORMALISED)[row % 3],
            learning_rate=float(draw.uniform(0.001, 0.1)),
            prior_weight=0.0,
            steps=int(draw.integers(5, 60)),
            weight_decay=float(draw.choice([0.0, 0.01, 0.2])),
        )
        for row in range(count)
    ]


@pytest.mark.parametrize("latent_size", [1, 3, 17, 128])
def test_a_row_does_not_depend_on_the_others_bit_for_bit(latent_size) -> None:
    settings = mixed(50)
    start = np.stack([first_latent(seed, latent_size) for seed in range(50)])
    together = climb(start, settings, np.sin, 60)
    for row in (0, 1, 7, 30, 49):
        alone = climb(start[row : row + 1], settings[row : row + 1], np.sin, 60)
        assert (alone[:, 0] == together[:, row]).all()


def test_rows_may_be_told_apart() -> None:
    settings = mixed(6)
    start = np.stack([first_latent(seed, 4) for seed in range(6)])
    together, apart = begun(start, settings), begun(start, settings)
    everyone = np.arange(6)
    for _ in range(4):
        together.tell(everyone, np.cos(together.ask(everyone)))
        for part in (np.array([5, 0]), np.array([3]), np.array([1, 2, 4])):
            apart.tell(part, np.cos(apart.ask(part)))
    assert (together.ask(everyone) == apart.ask(everyone)).all()


def test_latents_are_float32_and_not_shared() -> None:
    start = np.zeros((2, 2), np.float32)
    moving = begun(start, mixed(2))
    asked = moving.ask(np.arange(2))
    moving.tell(np.arange(2), np.ones((2, 2), np.float32))
    assert not start.any()
    assert not asked.any()
    assert moving.ask(np.arange(2)).dtype == np.float32


def test_first_latent_is_the_seeds_alone() -> None:
    expected = np.random.default_rng(7).standard_normal(6).astype(np.float32)
    assert (first_latent(7, 6) == expected).all()
    assert (first_latent(7, 6) != first_latent(8, 6)).all()
    assert first_latent(2**63 - 1, 6).dtype == np.float32


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        (Resolved(learning_rate=0.0), "learning_rate"),
        (Resolved(learning_rate=-0.1), "learning_rate"),
        (Resolved(learning_rate=10.1), "learning_rate"),
        (Resolved(learning_rate=float("nan")), "learning_rate"),
        (Resolved(learning_rate=float("inf")), "learning_rate"),
        (Resolved(prior_weight=-1e-6), "prior_weight"),
        (Resolved(prior_weight=1001), "prior_weight"),
        (Resolved(prior_weight=float("nan")), "prior_weight"),
        (Resolved(steps=0), "steps"),
        (Resolved(steps=-5), "steps"),
        (Resolved(steps=1001), "steps"),
        (Resolved(prior_weight=0, weight_decay=1.0), "weight_decay"),
        (Resolved(prior_weight=0, weight_decay=-0.1), "weight_decay"),
        (Resolved(prior_weight=0, weight_decay=float("nan")), "weight_decay"),
        (Resolved(prior_weight=0.1, weight_decay=0.1), "weight_decay"),
    ],
)
def test_settings_out_of_range_are_refused_by_field(settings, field) -> None:
    with pytest.raises(InvalidArgument) as caught:
        settings.check("search.settings", 1000, 5000)
    assert caught.value.field == f"search.settings.{field}"


@pytest.mark.parametrize(
    "settings",
    [
        Resolved(),
        Resolved(learning_rate=10.0, prior_weight=1000, steps=1000),
        Resolved(prior_weight=0, weight_decay=0.999, steps=1),
        Resolved(SGD, prior_weight=0),
    ],
)
def test_settings_at_their_limits_are_taken(settings) -> None:
    settings.check("search.settings", 1000, 5000)
