"""What can be asked for."""

from typing import Any

import pytest

from earwitness.atlas.tasks import latents_of
from earwitness.atlas.values import Request, UnitKey, chosen_units
from earwitness.client.values import Layer
from earwitness.errors import InvalidArgument
from earwitness.explainer import draws
from tests.helpers.tiny_bundle import LATENT, write_tiny_bundle

LAYERS = (Layer("conv1", "conv", 3, 0), Layer("fc2", "dense", 5, 3))


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"count": 1}, "count"),
        ({"count": 65}, "count"),
        ({"excerpt_count": 0}, "excerpts"),
        ({"oversampling": 0}, "oversample"),
        ({"count": 64, "oversampling": 8}, "oversample"),
        ({"draws": 7}, "draws"),
        ({"draws": 100_001}, "draws"),
    ],
)
def test_what_cannot_be_made_is_refused(given: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        Request(**given)
    assert refused.value.field == field


def test_units_of_layers() -> None:
    every = chosen_units(LAYERS, ["fc2", "conv1"], [])
    assert every == tuple(UnitKey(name, unit) for name, count in (("conv1", 3), ("fc2", 5)) for unit in range(count))
    assert chosen_units(LAYERS, ["fc2"], [range(3, 5), range(1, 2), range(1, 2)]) == tuple(
        UnitKey("fc2", unit) for unit in (1, 3, 4)
    )
    with pytest.raises(InvalidArgument, match=r"got 'fc9'; there are conv1, fc2"):
        chosen_units(LAYERS, ["fc9"], [])
    with pytest.raises(InvalidArgument, match=r"got 4; layer conv1 has 0 to 2"):
        chosen_units(LAYERS, ["fc2", "conv1"], [range(0, 5)])


def test_draws_are_those_of_the_explainer(tmp_path: Any) -> None:
    bundle = write_tiny_bundle(tmp_path).metadata
    assert (latents_of(bundle, range(7, 10)) == draws.latents_of(range(7, 10), LATENT)).all()
