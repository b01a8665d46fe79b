"""Files of other weights, damaged or cut, are told from those that were exported, wherever they can be read."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from earwitness.inference.backend import ModelUnusable
from earwitness.inference.integrity import take_inventory
from earwitness.inference.local import LocalBackend
from earwitness.inference.metadata import ROLES
from earwitness.inference.repository import RepositoryError
from earwitness.inference.view import link_models
from tests.helpers.probe_model import write_probe_model
from tests.helpers.tiny_bundle import flip_a_bit, write_tiny_bundle


def model_file(repository: Path, role: str, name: str = "tiny") -> Path:
    return repository / f"{name}_{role}" / "1" / "model.onnx"


def exchange(*roles: str) -> Callable[[Path], None]:
    """Puts the files of another bundle, equal in all but its weights, in the place of these."""

    def spoil(repository: Path) -> None:
        other = write_tiny_bundle(repository.parent / "other", seed=7)
        for role in roles:
            shutil.copy(model_file(other.repository, role), model_file(repository, role))

    return spoil


def swap(repository: Path) -> None:
    """Each of two files where the other belongs."""
    first, second = model_file(repository, "search"), model_file(repository, "classifier")
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def cut(repository: Path) -> None:
    file = model_file(repository, "search")
    file.write_bytes(file.read_bytes()[:-100])


def content(repository: Path) -> dict[str, bytes]:
    """Every file by its path in the repository."""
    files = [path for path in repository.rglob("*") if path.is_file()]
    return {str(path.relative_to(repository)): path.read_bytes() for path in files}


SPOILED: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "all three": (exchange(*ROLES), ROLES),
    "classifier": (exchange("classifier"), ("classifier",)),
    "generator": (exchange("generator"), ("generator",)),
    "search": (exchange("search"), ("search",)),
    "swapped": (swap, ("search", "classifier")),
    "a bit": (lambda repository: flip_a_bit(model_file(repository, "classifier")), ("classifier",)),
    "cut": (cut, ("search",)),
    "empty": (lambda repository: model_file(repository, "generator").write_bytes(b"") and None, ("generator",)),
}


@pytest.mark.parametrize("how", SPOILED)
async def test_a_bundle_with_a_wrong_file_is_not_served(tmp_path: Path, how: str, caplog) -> None:
    spoil, roles = SPOILED[how]
    repository = tmp_path / "models"
    write_tiny_bundle(repository)
    good = write_tiny_bundle(repository, "good", seed=1)
    write_probe_model(repository)
    spoil(repository)

    inventory = take_inventory(repository)
    assert inventory.bundles == (good.metadata,)
    assert sorted(inventory.models) == ["good_classifier", "good_generator", "good_search", "probe"]
    assert inventory.left_out.keys() == {"tiny"}
    for role in ROLES:
        told = f"{model_file(repository, role)} is not the file that was exported" in inventory.left_out["tiny"]
        assert told == (role in roles)
    assert inventory.left_out["tiny"] in caplog.text

    backend = LocalBackend(repository)
    assert list(await backend.bundles()) == [good.metadata]
    assert await backend.left_out() == inventory.left_out
    with pytest.raises(ModelUnusable, match=r"models/tiny cannot be used: .*export the model again"):
        await backend.infer("tiny_generator", {"z": np.ones((2, 6))}, ["spectrogram"])
    await backend.close()

    link_models(repository, tmp_path / "view")
    assert sorted(each.name for each in (tmp_path / "view").iterdir()) == sorted(inventory.models)


def test_a_repository_in_order_has_nothing_left_out(tmp_path: Path, caplog) -> None:
    bundle = write_tiny_bundle(tmp_path)
    inventory = take_inventory(tmp_path)
    assert inventory.bundles == (bundle.metadata,)
    assert (inventory.left_out, inventory.odd, inventory.undigested) == ({}, {}, ())
    assert inventory.digest("tiny_search") == bundle.metadata.model_sha256["search"]
    assert inventory.digest("probe") is None
    assert not caplog.records


def test_a_bundle_of_an_earlier_version_is_served_with_a_warning(tmp_path: Path, caplog) -> None:
    bundle = write_tiny_bundle(tmp_path, digests=False)
    inventory = take_inventory(tmp_path)
    assert inventory.bundles == (bundle.metadata,)
    assert inventory.undigested == ("tiny",)
    assert (
        f"models/tiny in {tmp_path} carries no digests of its files, which cannot be checked: `earwitness stamp`"
        in caplog.text
    )


def test_models_of_two_exports_are_no_bundle(tmp_path: Path) -> None:
    """Of equal weights, but not written together: one of them from before there were digests, say."""
    write_tiny_bundle(tmp_path / "models")
    old = write_tiny_bundle(tmp_path / "old", digests=False)
    shutil.copy(old.repository / "tiny_search/config.pbtxt", tmp_path / "models/tiny_search/config.pbtxt")
    inventory = take_inventory(tmp_path / "models")
    assert "written by different exports" in inventory.left_out["tiny"]
    assert inventory.models == {}


def test_a_view_holds_all_of_a_model_but_empty_versions(tmp_path: Path) -> None:
    folder = write_probe_model(tmp_path / "models")
    (folder / "2").mkdir()
    (folder / "warmup").mkdir()
    (folder / "labels.txt").write_text("loud\n")
    (tmp_path / "models/.git").mkdir()
    (tmp_path / "models/lost+found").mkdir()
    link_models(tmp_path / "models", tmp_path / "view")
    assert [each.name for each in (tmp_path / "view").iterdir()] == ["probe"]
    assert sorted(each.name for each in (tmp_path / "view/probe").iterdir()) == [
        "1", "config.pbtxt", "labels.txt", "warmup",
    ]  # fmt: skip
    assert (tmp_path / "view/probe/1/model.onnx").samefile(folder / "1/model.onnx")


def test_nothing_usable_is_refused_with_the_reason(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "models")
    cut(tmp_path / "models")
    with pytest.raises(RepositoryError, match=r"holds no model that can be used \(models/tiny: .*tiny_search/1"):
        link_models(tmp_path / "models", tmp_path / "view")


async def test_a_bundle_without_a_search_graph_is_served(tmp_path: Path, caplog) -> None:
    bundle = write_tiny_bundle(tmp_path, gradient=False)
    inventory = take_inventory(tmp_path)
    assert (inventory.bundles, inventory.left_out, caplog.records) == ((bundle.metadata,), {}, [])
    backend = LocalBackend(tmp_path)
    z = np.ones((2, 6), np.float32)
    found = await backend.infer("tiny_generator", {"z": z}, ["spectrogram"])
    np.testing.assert_allclose(found["spectrogram"], bundle.spectrogram(z), rtol=1e-4, atol=1e-4)
    await backend.close()
    model_file(tmp_path, "classifier").write_bytes(b"")
    assert "is not the file that was exported" in take_inventory(tmp_path).left_out["tiny"]


@pytest.mark.parametrize("digests", [True, False])
def test_a_search_graph_that_was_deleted_is_damage(tmp_path: Path, digests: bool) -> None:
    write_tiny_bundle(tmp_path, digests=digests)
    shutil.rmtree(tmp_path / "tiny_search")
    inventory = take_inventory(tmp_path)
    assert inventory.bundles == ()
    assert "tiny_search cannot be run, or there is none" in inventory.left_out["tiny"]
