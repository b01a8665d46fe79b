"""Bundles are described by their models' parameters, and by nothing else."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from earwitness.inference.metadata import (
    BUNDLE_PARAMETER,
    ROLES,
    BundleMetadata,
    MetadataError,
    complete_bundles,
    find_bundles,
)
from tests.helpers.tiny_bundle import write_tiny_bundle


@pytest.fixture
def metadata(tmp_path: Path) -> BundleMetadata:
    return write_tiny_bundle(tmp_path, "tiny-one").metadata


def served(*bundles: BundleMetadata) -> dict[str, dict[str, str]]:
    return {bundle.served_name(role): bundle.to_parameters(role) for bundle in bundles for role in ROLES}


def test_a_bundle_survives_the_way_through_parameters(metadata):
    for role in ROLES:
        assert BundleMetadata.from_parameters(metadata.to_parameters(role)) == metadata
    assert metadata.served_name("search") == "tiny_one_search"
    assert metadata.unit_count == 10
    assert metadata.output_layer.name == "fc3"


def test_what_the_outputs_are_is_said_only_where_it_is_not_what_it_always_was(metadata):
    """So that the files of bundles from before stay as they are."""
    body = json.loads(metadata.to_parameters("search")[BUNDLE_PARAMETER])
    assert not {"output_kind", "probability"} & set(body)
    assert (metadata.output_kind, metadata.probability_kind) == ("logit", "softmax")
    for change in ({"probability": "sigmoid"}, {"output_kind": "probability"}):
        told = BundleMetadata.from_parameters(replace(metadata, **change).to_parameters("search"))
        assert told == replace(metadata, **change) != metadata
        assert told.probability_kind == change.get("probability", "none")


@pytest.mark.parametrize(
    ("change", "part"),
    [({"schema_version": 2}, "schema_version 2"), ({"layers": [{"name": "fc1"}]}, "malformed"), ({"name": None}, None)],
)
def test_another_schema_or_a_broken_body_is_refused(metadata, change, part):
    body = json.loads(metadata.to_parameters("search")[BUNDLE_PARAMETER])
    body = {key: value for key, value in (body | change).items() if value is not None}
    with pytest.raises(MetadataError, match=part or "malformed"):
        BundleMetadata.from_parameters({BUNDLE_PARAMETER: json.dumps(body)})


LAYERS = [
    {"name": "conv1", "kind": "conv", "unit_count": 3, "first_unit": 0},
    {"name": "fc2", "kind": "dense", "unit_count": 5, "first_unit": 3},
    {"name": "fc3", "kind": "output", "unit_count": 2, "first_unit": 8},
]


def layers(index: int, **change: object) -> dict[str, object]:
    return {"layers": [layer | (change if i == index else {}) for i, layer in enumerate(LAYERS)]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"latent_size": 0}, "latent_size is 0, expected a whole number from 1 up"),
        ({"latent_size": "6"}, "latent_size is '6'"),
        ({"sample_rate_hz": -1}, "sample_rate_hz is -1"),
        ({"spectrogram_shape": [8]}, r"spectrogram_shape is \(8,\)"),
        ({"spectrogram_shape": [8, 0]}, r"spectrogram_shape is \(8, 0\), expected bands and frames"),
        ({"features": ["log-mel"]}, r"features is \['log-mel'\]"),
        ({"weights_sha256": ""}, "weights_sha256 is ''"),
        (
            {"model_sha256": {"search": "ab" * 32}},
            "model_sha256 is .*, expected a SHA-256 in lower-case hex for each of",
        ),
        ({"model_sha256": dict.fromkeys(ROLES, "AB" * 32)}, "model_sha256 is "),
        ({"model_sha256": ["ab" * 32] * 3}, "model_sha256 is "),
        ({"model_sha256": dict.fromkeys(ROLES, 7)}, "model_sha256 is "),
        ({"output_kind": "odds"}, "output_kind is 'odds', expected one of logit, probability"),
        ({"probability": "relu"}, "probability is 'relu', expected one of softmax, sigmoid, none"),
        ({"output_kind": "probability", "probability": "softmax"}, "probability is 'softmax', expected one of none"),
        ({"name": ["a"]}, r"name is \['a'\]"),
        (layers(1, kind="attention"), r"layers\[1\]\.kind is 'attention', expected one of dense, conv, output"),
        (layers(1, kind=["dense"]), r"layers\[1\]\.kind is \['dense'\]"),
        (layers(1, first_unit=4), r"layers\[1\]\.first_unit is 4, expected 3, where the one before ends"),
        (layers(0, first_unit=1), r"layers\[0\]\.first_unit is 1, expected 0"),
        (layers(2, unit_count=0), r"layers\[2\]\.unit_count is 0"),
        (layers(1, name="conv1"), r"layers\[1\]\.name is 'conv1', expected a name of its own"),
        (layers(2, kind="dense"), r"layers of kind output is \[\], expected exactly one"),
        (layers(1, kind="output"), r"layers of kind output is \['fc2', 'fc3'\]"),
        ({"layers": []}, "layers of kind output"),
        (
            {"labels": [{"unit": 2, "maximise": "a", "minimise": "b"}]},
            r"labels\[\]\.unit is \[2\], expected units of fc3",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_model_and_field(metadata, change, said):
    body = json.loads(metadata.to_parameters("search")[BUNDLE_PARAMETER])
    assert body["layers"] == LAYERS
    with pytest.raises(MetadataError, match=f"^model .*: {said}.*export the model again$"):
        BundleMetadata.from_parameters({BUNDLE_PARAMETER: json.dumps(body | change)})


def test_digests_travel_and_may_be_absent(metadata):
    assert metadata.model_sha256.keys() == set(ROLES)
    old = replace(metadata, model_sha256=None)
    assert "model_sha256" not in old.to_parameters("search")[BUNDLE_PARAMETER]  # as earlier versions wrote it
    assert BundleMetadata.from_parameters(old.to_parameters("search")) == old


def test_no_parameter_is_refused():
    with pytest.raises(MetadataError, match="missing"):
        BundleMetadata.from_parameters({})


def test_complete_bundles_come_sorted_and_others_are_passed_over(metadata):
    other = replace(metadata, name="a-bundle")
    models = served(metadata, other) | {"resnet": {}, "text": {"intra_op_thread_count": "2"}}
    assert complete_bundles(models) == (other, metadata)


def test_a_bundle_with_a_model_missing_is_left_out(metadata):
    models = served(metadata)
    del models[metadata.served_name("generator")]
    assert complete_bundles(models) == ()


def test_models_of_different_weights_are_no_bundle(metadata, caplog):
    models = served(metadata)
    models[metadata.served_name("search")] = replace(metadata, weights_sha256="0" * 64).to_parameters("search")
    assert complete_bundles(models) == ()
    assert "different weights" in caplog.text


def test_what_is_left_out_says_why(metadata):
    models = served(metadata, *(replace(metadata, name=name) for name in ("halved", "mixed", "unready", "broken")))
    del models["halved_generator"], models["unready_search"]
    models["mixed_search"] = replace(metadata, name="mixed", model_sha256=None).to_parameters("search")
    models["broken_search"] = {BUNDLE_PARAMETER: "{"}
    found = find_bundles(models, {"unready_search": "no memory", "resnet": "no memory", "gone-too_classifier": "cut"})
    assert found.usable == (metadata,)
    assert found.left_out.keys() == {"broken", "gone-too", "halved", "mixed", "unready"}
    assert found.left_out["halved"] == "halved_generator cannot be run, or there is none"
    assert "different exports" in found.left_out["mixed"]
    assert found.left_out["unready"] == "unready_search: no memory"
    assert "broken_search" in found.left_out["broken"]


def test_a_malformed_model_is_logged_and_left_out(metadata, caplog):
    models = served(metadata)
    models[metadata.served_name("search")] = {BUNDLE_PARAMETER: "{"}
    assert complete_bundles(models) == ()
    assert "models/tiny-one is left out: model tiny_one_search: parameter" in caplog.text


@pytest.fixture
def without(tmp_path: Path) -> BundleMetadata:
    """A bundle that has no search graph, and says so."""
    return write_tiny_bundle(tmp_path / "without", "tiny-one", gradient=False).metadata


def test_a_bundle_without_a_search_graph_says_so(metadata, without):
    models = {without.served_name(role): without.to_parameters(role) for role in without.roles}
    assert [*models] == ["tiny_one_generator", "tiny_one_classifier"]
    assert complete_bundles(models) == (without,)
    assert without.model_sha256.keys() == {"generator", "classifier"}
    assert "has_gradient" not in metadata.to_parameters("search")[BUNDLE_PARAMETER], "as it always was"


def test_a_search_graph_that_is_missing_is_never_taken_for_none(metadata):
    models = served(metadata)
    del models["tiny_one_search"]
    found = find_bundles(models)
    assert not found.usable
    assert found.left_out == {
        "tiny-one": "tiny_one_search cannot be run, or there is none; a bundle without one says so (has_gradient)"
    }


def test_a_search_graph_beside_a_bundle_that_has_none_is_told_of(metadata, without):
    own = {name: without.to_parameters("search") for name in served(metadata)}
    assert "but the bundle says that it has none" in find_bundles(own).left_out["tiny-one"]
    left = served(without) | {"tiny_one_search": metadata.to_parameters("search")}
    found = find_bundles(left)
    assert (found.usable, [*found.left_out]) == ((), ["tiny-one"])
    forward = {without.served_name(role): without.to_parameters(role) for role in without.roles}
    unready = find_bundles(forward, {"tiny_one_search": "cut off"})
    assert (unready.usable, unready.left_out) == ((), {"tiny-one": "tiny_one_search: cut off"})


@pytest.mark.parametrize("said", ["no", 0, None])
def test_whether_there_is_a_gradient_is_true_or_false(metadata, said):
    body = json.loads(metadata.to_parameters("search")[BUNDLE_PARAMETER]) | {"has_gradient": said}
    with pytest.raises(MetadataError, match="has_gradient is"):
        BundleMetadata.from_parameters({BUNDLE_PARAMETER: json.dumps(body)})
