"""The probe passes true gradients and names the false ones."""

import asyncio
from itertools import pairwise

import numpy as np
import pytest

from earwitness.explainer.errors import FrozenGradient, NonFiniteModel, WrongGradient, ZeroGradient
from earwitness.explainer.probe import GradientProbe, probe
from earwitness.inference.backend import InconsistentModel
from earwitness.inference.metadata import Layer
from tests.unit.explainer.analytic import Model, bundle, hills, linear, waves

HIDDEN, OUT = bundle().layers


@pytest.mark.parametrize("model", [linear(), hills(), waves()], ids=["linear", "hills", "waves"])
@pytest.mark.parametrize("layer", [HIDDEN, OUT], ids=lambda layer: layer.name)
async def test_true_gradients_pass_in_two_batches(model, layer) -> None:
    await probe(bundle(), layer, model.evaluate, model.classify)
    assert len(model.calls) % 2 == 0
    assert sum(model.calls[-2:]) <= 32


def network(depth: int, width: int, slope: float, seed: int, scale: float = 1.0) -> tuple[Model, int]:
    """A piecewise linear network in float32, as trained ones are: leaky ReLU (or ReLU) layers over 128 latents."""
    draw = np.random.default_rng(seed)
    sizes = [128] + [width] * depth
    layers = [draw.normal(0, (2 / a) ** 0.5, (a, b)).astype(np.float32) for a, b in pairwise(sizes)]
    last = (draw.normal(0, scale / width**0.5, (width, 5))).astype(np.float32)
    offset = draw.normal(0, 3, 5).astype(np.float32)

    def forward(z):
        tilts = []
        for weights in layers:
            z = z @ weights
            tilts.append(np.where(z > 0, 1, slope).astype(np.float32))
            z = z * tilts[-1]
        return z @ last + offset, tilts

    def slopes(z):
        _, tilts = forward(z)
        back = np.broadcast_to(last.T, (len(z), 5, width))
        for weights, tilt in zip(reversed(layers), reversed(tilts), strict=True):
            back = (back * tilt[:, None, :]) @ weights.T
        return back

    return Model(lambda z: forward(z)[0], slopes), 128


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("depth", "width", "slope"), [(1, 16, 0.0), (3, 64, 0.01), (6, 128, 0.0)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
async def test_kinks_and_rounding_of_float32_networks_are_not_taken_for_errors(
    depth, width, slope, seed, scale
) -> None:
    model, latent_size = network(depth, width, slope, seed, scale)
    for layer in (HIDDEN, OUT):
        await probe(bundle(latent_size=latent_size), layer, model.evaluate, model.classify)


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda g: 0 * g, ZeroGradient),
        (lambda g: 0 * g + 1, FrozenGradient),
        (lambda g: np.broadcast_to(g[0], g.shape), FrozenGradient),
        (lambda g: -g, WrongGradient),
        (lambda g: 0.5 * g, WrongGradient),
        (lambda g: 2 * g, WrongGradient),
        (lambda g: g[::-1], WrongGradient),
        (lambda g: np.roll(g, 1, axis=1), WrongGradient),
        (lambda g: np.where(np.arange(g.shape[1]) % 2, g, 0), WrongGradient),  # every other path is missing
        (lambda g: np.where(g == 0, g, np.nan), NonFiniteModel),
    ],
    ids=["zero", "ones", "first-row", "sign", "half", "double", "other-row", "shifted", "missing-paths", "nan"],
)
@pytest.mark.parametrize("make", [waves, hills, lambda: network(4, 128, 0.01, 0)[0]], ids=["waves", "hills", "network"])
async def test_false_gradients_are_named(make, spoil, error) -> None:
    model = make()
    model.spoil = spoil
    latent_size = 128 if make not in (waves, hills) else 5
    with pytest.raises(error, match=r"layer 'out' of models/analytic.*export"):
        await probe(bundle(latent_size=latent_size), OUT, model.evaluate, model.classify)


async def test_an_activation_that_no_latent_changes_has_a_zero_gradient() -> None:
    model = Model(lambda z: np.ones((len(z), 5)), lambda z: np.zeros((len(z), 5, z.shape[1])))
    with pytest.raises(ZeroGradient):
        await probe(bundle(), OUT, model.evaluate, model.classify)


async def test_an_activation_of_nan_is_named() -> None:
    model = waves()
    model.units = lambda z: np.full((len(z), 5), np.nan)
    with pytest.raises(NonFiniteModel):
        await probe(bundle(), OUT, model.evaluate, model.classify)


@pytest.mark.parametrize("make", [waves, hills, lambda: network(4, 128, 0.01, 0)[0]], ids=["waves", "hills", "network"])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda units: units[::-1],
        lambda units: units * [1, -1, 1],
        lambda units: np.roll(units, 1, axis=1),
        lambda units: 0 * units,
        lambda units: units + 0.3 * np.abs(units).max(),
    ],
    ids=["other-row", "a-sign", "shifted", "dead", "offset"],
)
async def test_a_classifier_that_contradicts_the_search_graph_is_named(make, spoil) -> None:
    model = make()
    latent_size = 128 if make not in (waves, hills) else 5

    async def classify(latents, layers):
        found = await model.classify(latents, layers)
        return {name: spoil(units) for name, units in found.items()}

    with pytest.raises(
        InconsistentModel, match=r"by analytic_search are .* off those by analytic_classifier"
    ) as caught:
        await probe(bundle(latent_size=latent_size), OUT, model.evaluate, classify)
    assert caught.value.metadata == {"layer": "out", "model": "analytic"}


@pytest.mark.parametrize("relative", [1e-5, 3e-3], ids=["CPU", "TF32"])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
async def test_rounding_is_no_contradiction(relative, scale) -> None:
    model, latent_size = network(6, 128, 0.0, 1, scale)
    draw = np.random.default_rng(0)

    async def classify(latents, layers):
        found = await model.classify(latents, layers)
        return {name: units * (1 + relative * draw.standard_normal(units.shape)) for name, units in found.items()}

    for layer in (HIDDEN, OUT):
        await probe(bundle(latent_size=latent_size), layer, model.evaluate, classify)


async def test_layers_that_passed_are_not_probed_again() -> None:
    model, gradient_probe = waves(), GradientProbe()
    await gradient_probe.check(bundle(), (HIDDEN, OUT), model.evaluate, model.classify)
    assert len(model.calls) == 4
    await gradient_probe.check(bundle(), (OUT, HIDDEN), model.evaluate, model.classify)
    assert len(model.calls) == 4


async def test_another_bundle_of_the_same_word_and_another_server_are_probed_again() -> None:
    """What weights a bundle has is what it says, and what a server said may not hold of the next one."""
    model, gradient_probe = waves(), GradientProbe()
    for name, generation in (("one", 0), ("other", 0), ("other", 1), ("one", 1)):
        model.calls.clear()
        for _ in range(2):
            await gradient_probe.check(bundle(name), (OUT,), model.evaluate, model.classify, generation=generation)
        assert len(model.calls) == 2


async def test_a_layer_that_failed_is_probed_again() -> None:
    model, gradient_probe = waves(), GradientProbe()
    model.spoil = lambda gradient: -gradient
    for _ in range(2):
        with pytest.raises(WrongGradient):
            await gradient_probe.check(bundle(), (OUT,), model.evaluate, model.classify)
    model.spoil = lambda gradient: gradient
    await gradient_probe.check(bundle(), (OUT,), model.evaluate, model.classify)


async def test_callers_at_once_probe_once() -> None:
    model, gradient_probe = waves(), GradientProbe()

    async def evaluate(*arrays):
        await asyncio.sleep(0.01)
        return await model.evaluate(*arrays)

    await asyncio.gather(*(gradient_probe.check(bundle(), (OUT,), evaluate, model.classify) for _ in range(5)))
    assert len(model.calls) == 2


async def test_callers_at_once_share_a_failure() -> None:
    model, gradient_probe = waves(), GradientProbe()
    model.spoil = lambda gradient: -gradient

    async def evaluate(*arrays):
        await asyncio.sleep(0.01)
        return await model.evaluate(*arrays)

    checks = [gradient_probe.check(bundle(), (OUT,), evaluate, model.classify) for _ in range(5)]
    told = await asyncio.gather(*checks, return_exceptions=True)
    assert [type(each) for each in told] == [WrongGradient] * 5
    assert len(model.calls) == 2


async def test_a_probe_that_hangs_holds_up_no_other_layer_and_ends_with_the_last_who_waits() -> None:
    model, gradient_probe, hanging, left = waves(), GradientProbe(), asyncio.Event(), asyncio.Event()

    async def hang(*arrays):
        hanging.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()

    waiting = [asyncio.create_task(gradient_probe.check(bundle(), (OUT,), hang, model.classify)) for _ in range(2)]
    await hanging.wait()
    async with asyncio.timeout(10):
        await gradient_probe.check(bundle(), (HIDDEN,), model.evaluate, model.classify)
    for each in waiting:
        assert not left.is_set()
        each.cancel()
        await asyncio.wait({each})
        await asyncio.sleep(0)
    assert left.is_set()
    await gradient_probe.check(bundle(), (OUT,), model.evaluate, model.classify)


async def test_other_layers_of_a_model_with_one_broken_layer_can_be_used() -> None:
    model = waves()
    slopes = model.slopes
    model.slopes = lambda z: slopes(z) * (np.arange(5) < 2)[:, None]
    gradient_probe = GradientProbe()
    await gradient_probe.check(bundle(), (HIDDEN,), model.evaluate, model.classify)
    with pytest.raises(ZeroGradient):
        await gradient_probe.check(bundle(), (Layer("out", "output", 3, 2),), model.evaluate, model.classify)
