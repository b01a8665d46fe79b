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


@pytest.mark.parametrize(
    ("change", "part"),
    [({"schema_version": 2}, "schema_version 2"), ({"layers": [{"name": "fc1"}]}, "malformed"), ({"name": None}, None)],
)
def test_another_schema_or_a_broken_body_is_refused(metadata, change, part):
    body = json.loads(metadata.to_parameters("search")[BUNDLE_PARAMETER])
    body = {key: value for key, value in (body | change).items() if value is not None}
    with pytest.raises(MetadataError, match=part or "malformed"):
        BundleMetadata.from_parameters({BUNDLE_PARAMETER: json.dumps(body)})


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


def test_a_malformed_model_is_logged_and_left_out(metadata, caplog):
    models = served(metadata)
    models[metadata.served_name("search")] = {BUNDLE_PARAMETER: "{"}
    assert complete_bundles(models) == ()
    assert "tiny_one_search is left out" in caplog.text
