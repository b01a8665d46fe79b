"""Criteria as people type them, and the one that suits a model."""

import pytest

from earwitness.client.criteria import criterion_name, criterion_of, default_criterion, require_layers
from earwitness.client.values import Criterion
from earwitness.errors import InvalidArgument
from earwitness.inference.metadata import Layer

LAYERS = (
    Layer("conv1", "conv", 8, 0),
    Layer("pool2", "conv", 8, 8),
    Layer("fc3", "dense", 16, 16),
    Layer("fc4", "output", 1, 32),
)


@pytest.mark.parametrize(
    ("words", "criterion"),
    [
        ("unit", Criterion()),
        ("layer:pool3", Criterion("distance", ("pool3",))),
        ("layers:pool3,conv4", Criterion("distance", ("pool3", "conv4"))),
        ("nearness", Criterion("nearness")),
        ("nearness:fc7", Criterion("nearness", ("fc7",))),
        ("nearness:fc7,fc8", Criterion("nearness", ("fc7", "fc8"))),
    ],
)
def test_criteria_are_read_and_written(words: str, criterion: Criterion) -> None:
    assert criterion_of(words) == criterion
    assert criterion_name(criterion) == words


def test_blanks_and_a_single_layer_of_several_are_forgiven() -> None:
    assert criterion_of(" layers:pool3, conv4 ") == Criterion("distance", ("pool3", "conv4"))
    assert criterion_of("layers:pool3") == criterion_of("layer:pool3")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("", "there is no criterion ''"),
        ("fid", "there is no criterion 'fid'"),
        ("pool3", "there is no criterion 'pool3'"),
        ("unit:fc9", "the unit is the reference's"),
        ("layer", "it names no layer"),
        ("layer:", "a layer's name is empty"),
        ("nearness:", "a layer's name is empty"),
        ("layers:a,,b", "a layer's name is empty"),
        ("layer:a,b", "for several write layers:a,b"),
        ("layers:a,b,a", "it names a more than once"),
    ],
)
def test_nonsense_is_refused_with_what_is_wrong_and_an_example(words: str, why: str) -> None:
    with pytest.raises(InvalidArgument, match=r"give one of unit, layer:NAME, .* e\.g\. layer:pool3") as caught:
        criterion_of(words)
    assert why in str(caught.value)


def test_layers_that_are_not_there_are_told_with_those_that_are() -> None:
    require_layers(criterion_of("layers:conv1,fc3"), ["conv1", "fc3"], "the reference")
    with pytest.raises(InvalidArgument, match="names layer 'fc9'; the reference has conv1, fc3"):
        require_layers(criterion_of("layers:conv1,fc9"), ["conv1", "fc3"], "the reference")


def test_the_default_is_of_the_convolutional_layers_and_keeps_to_the_real_range() -> None:
    assert default_criterion(LAYERS) == Criterion("distance", ("conv1", "pool2"))
    assert default_criterion(LAYERS[2:]) == Criterion("distance", ("fc3",))
    assert default_criterion(LAYERS[3:]) == Criterion()
