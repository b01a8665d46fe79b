"""Recommendations travel in a bundle's metadata, are held against it, and stored in all its models at once."""

import json
import os
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from earwitness.inference.integrity import take_inventory
from earwitness.inference.metadata import BUNDLE_PARAMETER, ROLES, BundleMetadata, MetadataError, find_bundles
from earwitness.inference.recommendation import Recommendation
from earwitness.inference.recommending import store
from earwitness.inference.repository import RepositoryError, parameters_of, read_contents
from earwitness.inference.stamping import Stamped, stamp
from tests.helpers.tiny_bundle import write_tiny_bundle
from tests.unit.inference.test_integrity import content

GOOD = Recommendation(
    "fc3",
    1,
    "maximise",
    {"optimiser": "normalised", "learning_rate": 0.2, "start_draws": 8, "target": {"low": -1.5, "high": 2.0}},
    3,
    "top50 of songs",
    0.25,
    50,
)
DRAWS = replace(GOOD, sense="minimise", settings={"optimiser": "draws", "draws": 4000}, oversampling=1)


def configurations(repository: Path) -> list[str]:
    return [path.read_text() for path in sorted(repository.glob("*/config.pbtxt"))]


def metadata_of(repository: Path) -> BundleMetadata:
    (bundle,) = take_inventory(repository).bundles
    return bundle


def test_a_bundle_of_before_reads_and_writes_unchanged(tmp_path: Path) -> None:
    metadata = write_tiny_bundle(tmp_path).metadata
    text = metadata.to_parameters("search")[BUNDLE_PARAMETER]
    assert "recommendations" not in json.loads(text)
    assert BundleMetadata.from_parameters({BUNDLE_PARAMETER: text}).recommendations == ()


def test_recommendations_survive_the_way_through_parameters(tmp_path: Path) -> None:
    metadata = replace(write_tiny_bundle(tmp_path).metadata, recommendations=(GOOD, DRAWS))
    for role in ROLES:
        assert BundleMetadata.from_parameters(metadata.to_parameters(role)) == metadata


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"layer": "fc9"}, r"layer is 'fc9', expected one of conv1, fc2, fc3"),
        ({"layer": ["fc3"]}, r"layer is \['fc3'\]"),
        ({"unit": 2}, "unit is 2, expected a unit of fc3, 0 to 1"),
        ({"unit": True}, "unit is True"),
        ({"sense": "up"}, "sense is 'up', expected one of maximise, minimise"),
        ({"settings": []}, r"settings is \[\]"),
        ({"settings": {}}, r"settings\.optimiser is None, expected one of adam, sgd, normalised, walk, draws"),
        ({"settings": {"optimiser": "adamw"}}, r"settings\.optimiser is 'adamw'"),
        ({"settings": {"optimiser": ["adam"]}}, r"settings\.optimiser is \['adam'\]"),
        ({"settings": {"optimiser": "adam", "beta": 1}}, "settings is 'beta', expected values of optimiser"),
        ({"settings": {"optimiser": "adam", "learning_rate": "0.1"}}, r"settings\.learning_rate is '0\.1'"),
        ({"settings": {"optimiser": "adam", "learning_rate": float("nan")}}, r"settings\.learning_rate is nan"),
        ({"settings": {"optimiser": "adam", "steps": 1.5}}, r"settings\.steps is 1\.5, expected a whole number"),
        ({"settings": {"optimiser": "walk", "target": {"low": 2}}}, r"settings\.target is \{'low': 2\}"),
        (
            {"settings": {"optimiser": "walk", "target": {"low": 2, "high": 1}}},
            r"settings\.target is .*, low at most",
        ),
        ({"oversampling": 0}, "oversampling is 0, expected a whole number from 1 up"),
        ({"reference": None}, "reference is None, expected text"),
        ({"distance": float("inf")}, "distance is inf"),
        ({"row_count": "50"}, "row_count is '50'"),
    ],
)
def test_what_cannot_be_is_refused_by_field(tmp_path: Path, change: dict[str, object], said: str) -> None:
    body = json.loads(write_tiny_bundle(tmp_path).metadata.to_parameters("search")[BUNDLE_PARAMETER])
    body["recommendations"] = [asdict(DRAWS), asdict(GOOD) | change]
    with pytest.raises(MetadataError, match=rf"recommendations\[1\]\.{said}.*take it out of the config"):
        BundleMetadata.from_parameters({BUNDLE_PARAMETER: json.dumps(body)})


def test_two_for_one_aim_are_refused(tmp_path: Path) -> None:
    body = json.loads(write_tiny_bundle(tmp_path).metadata.to_parameters("search")[BUNDLE_PARAMETER])
    body["recommendations"] = [asdict(GOOD), asdict(replace(GOOD, oversampling=1))]
    with pytest.raises(MetadataError, match="one recommendation for each unit and sense"):
        BundleMetadata.from_parameters({BUNDLE_PARAMETER: json.dumps(body)})


def test_an_unknown_field_is_malformed(tmp_path: Path) -> None:
    body = json.loads(write_tiny_bundle(tmp_path).metadata.to_parameters("search")[BUNDLE_PARAMETER])
    body["recommendations"] = [asdict(GOOD) | {"mood": 1}]
    with pytest.raises(MetadataError, match="malformed"):
        BundleMetadata.from_parameters({BUNDLE_PARAMETER: json.dumps(body)})


def test_stored_ones_are_in_all_models_and_change_nothing_else(tmp_path: Path) -> None:
    before = write_tiny_bundle(tmp_path).metadata
    assert store(tmp_path, "tiny", [GOOD]) == (GOOD,)
    assert metadata_of(tmp_path) == replace(before, recommendations=(GOOD,))
    better = replace(GOOD, distance=0.125)
    assert store(tmp_path, "tiny", [better, DRAWS]) == (better, DRAWS)
    after = content(tmp_path)
    assert metadata_of(tmp_path) == replace(before, recommendations=(better, DRAWS))
    assert stamp(tmp_path) == [Stamped("tiny", changed=False)]
    assert content(tmp_path) == after
    assert not list(tmp_path.rglob("*.partial"))


def test_another_name_and_damaged_files_are_refused(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path)
    with pytest.raises(RepositoryError, match="holds no model other; it has tiny"):
        store(tmp_path, "other", [GOOD])
    (tmp_path / "tiny_search/1/model.onnx").write_bytes(b"x")
    before = content(tmp_path)
    with pytest.raises(RepositoryError, match=r"tiny cannot be used: .*is not the file that was exported"):
        store(tmp_path, "tiny", [GOOD])
    assert content(tmp_path) == before


def test_writing_that_was_cut_off_is_named_and_ended_by_stamp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiny_bundle(tmp_path)
    before = configurations(tmp_path)
    replaced = list[str]()

    def fail_after_the_first(source: Path, target: Path) -> None:
        if replaced:
            raise OSError("no space left")
        replaced.append(str(target))
        source.rename(target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", fail_after_the_first)
        with pytest.raises(OSError, match="no space left"):
            store(tmp_path, "tiny", [GOOD])
    assert replaced == [str(tmp_path / "tiny_generator/config.pbtxt")]
    assert configurations(tmp_path) != before
    assert not list(tmp_path.rglob("*.partial"))
    found = find_bundles(parameters_of(read_contents(tmp_path).models))
    assert found.usable == ()
    assert "carry different recommendations; `earwitness stamp`" in found.left_out["tiny"]
    assert stamp(tmp_path) == [Stamped("tiny", changed=True)]
    assert metadata_of(tmp_path).recommendations == (GOOD,)
