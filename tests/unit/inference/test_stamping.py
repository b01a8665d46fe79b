"""Bundles of earlier versions are brought up to date, and nothing wrong is called right."""

import shutil
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as mc

from earwitness.inference.integrity import take_inventory
from earwitness.inference.repository import RepositoryError, read_config
from earwitness.inference.stamping import MAX_QUEUE_SIZE, Stamped, stamp
from tests.helpers.tiny_bundle import flip_a_bit, write_tiny_bundle
from tests.unit.inference.test_integrity import SPOILED, content

SHIPPED = Path(__file__).parents[3] / "model_repository"


def test_a_bundle_of_an_earlier_version_becomes_one_of_today(tmp_path: Path) -> None:
    old, today = tmp_path / "old", write_tiny_bundle(tmp_path / "today")
    write_tiny_bundle(old, digests=False)
    for path in old.glob("*/config.pbtxt"):
        config = text_format.Parse(path.read_text(), mc.ModelConfig())
        config.dynamic_batching.ClearField("default_queue_policy")
        path.write_text(text_format.MessageToString(config))
    assert stamp(old) == [Stamped("tiny", changed=True)]
    assert take_inventory(old).bundles == (today.metadata,)
    for role in ("generator", "classifier", "search"):
        config = read_config(old / f"tiny_{role}")
        assert config.dynamic_batching.default_queue_policy.max_queue_size == MAX_QUEUE_SIZE
        assert config == read_config(today.repository / f"tiny_{role}")
    before = content(old)
    assert stamp(old) == [Stamped("tiny", changed=False)]
    assert content(old) == before


def test_a_queue_policy_of_ones_own_stays(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path, digests=False)
    path = tmp_path / "tiny_search/config.pbtxt"
    path.write_text(path.read_text().replace(f"max_queue_size: {MAX_QUEUE_SIZE}", "max_queue_size: 3"))
    stamp(tmp_path)
    assert read_config(path.parent).dynamic_batching.default_queue_policy.max_queue_size == 3


@pytest.mark.parametrize("how", [how for how in SPOILED if how not in ("all three",)])
@pytest.mark.parametrize("digests", [True, False])
def test_what_is_wrong_is_refused_and_left_as_it_was(tmp_path: Path, how: str, digests: bool) -> None:
    repository = tmp_path / "models"
    write_tiny_bundle(repository, digests=digests)
    write_tiny_bundle(repository, "old", digests=False)
    SPOILED[how][0](repository)
    before = content(repository)
    first, second = stamp(repository)
    assert (first, second.name, second.changed) == (Stamped("old", changed=True), "tiny", False)
    expected = "is not the file that was exported" if digests else "contradicts itself|cannot be run"
    with pytest.raises(RepositoryError, match=expected):
        raise RepositoryError(second.refused)
    after = content(repository)
    assert {path for path in before if before[path] != after[path]} == {
        f"old_{role}/config.pbtxt" for role in ("generator", "classifier", "search")
    }


def test_a_stamp_that_was_killed_halfway_is_ended_by_the_next(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "models")
    old = write_tiny_bundle(tmp_path / "old", digests=False)
    shutil.copy(old.repository / "tiny_search/config.pbtxt", tmp_path / "models/tiny_search/config.pbtxt")
    assert take_inventory(tmp_path / "models").bundles == ()
    assert stamp(tmp_path / "models") == [Stamped("tiny", changed=True)]
    assert len(take_inventory(tmp_path / "models").bundles) == 1


def test_a_flipped_bit_is_refused_by_name(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path, digests=False)
    flip_a_bit(tmp_path / "tiny_classifier/1/model.onnx")
    (refused,) = stamp(tmp_path)
    assert "the activations of layer 'fc3' by tiny_search are" in refused.refused
    assert "off those by tiny_classifier" in refused.refused


def test_the_shipped_models_are_those_that_were_exported_and_up_to_date(tmp_path: Path) -> None:
    inventory = take_inventory(SHIPPED)
    assert len(inventory.bundles) == 4
    assert (inventory.left_out, inventory.odd, inventory.undigested) == ({}, {}, ())
    for folder in SHIPPED.glob("*_*/"):
        (tmp_path / folder.name).mkdir()
        shutil.copy(folder / "config.pbtxt", tmp_path / folder.name)
        (tmp_path / folder.name / "1").symlink_to(folder / "1")
    assert [(each.changed, each.refused) for each in stamp(tmp_path)] == [(False, "")] * 4


def test_a_bundle_without_a_search_graph_is_stamped(tmp_path: Path) -> None:
    today = write_tiny_bundle(tmp_path / "today", gradient=False)
    write_tiny_bundle(tmp_path / "old", gradient=False, digests=False)
    assert stamp(tmp_path / "old") == [Stamped("tiny", changed=True)]
    assert take_inventory(tmp_path / "old").bundles == (today.metadata,)
    assert stamp(tmp_path / "old") == [Stamped("tiny", changed=False)]
    flip_a_bit(tmp_path / "old/tiny_classifier/1/model.onnx")
    (refused,) = stamp(tmp_path / "old")
    assert "is not the file that was exported" in refused.refused
