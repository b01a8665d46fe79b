"""What is kept between runs: whole, for one atlas at a time, of one model."""

from pathlib import Path

import numpy as np
import pytest

from earwitness.atlas.store import Store, digest, hold, leave_only, write_bytes
from earwitness.errors import FailedPrecondition, InvalidArgument

VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_what_is_put_is_there_again_and_what_is_damaged_is_not(tmp_path: Path) -> None:
    with hold(tmp_path / "out", "tiny", "w") as store:
        assert store.get("draws", "one") is None
        store.put("draws", "one", VALUES)
    again = Store(tmp_path / "out")
    np.testing.assert_array_equal(again.get("draws", "one"), VALUES)
    (file,) = (tmp_path / "out").rglob("one.npy")
    content = file.read_bytes()
    for damage in (b"", content[:90], b"x" * len(content)):
        file.write_bytes(damage)
        assert again.get("draws", "one") is None


def test_one_atlas_at_a_time_of_one_model(tmp_path: Path) -> None:
    out = tmp_path / "out"
    second = hold(out, "tiny", "w")
    with hold(out, "tiny", "w"), pytest.raises(FailedPrecondition, match="another atlas is being written there"):
        second.__enter__()
    other = hold(out, "tiny", "v")
    with pytest.raises(InvalidArgument, match=r"holds the atlas of tiny \(weights w\), not of tiny \(weights v\)"):
        other.__enter__()
    with hold(out, "tiny", "w"):
        pass


def test_a_folder_of_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(InvalidArgument, match="holds something else"), hold(tmp_path, "tiny", "w"):
        pass
    with pytest.raises(InvalidArgument, match="is a file"), hold(tmp_path / "letter.txt", "tiny", "w"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_disk_that_is_full_leaves_nothing_half_written(tmp_path: Path) -> None:
    full = tmp_path / "index.html.partial"
    full.symlink_to("/dev/full")  # every write to it fails as a full disk does
    with pytest.raises(OSError, match="No space left on device; what is done is kept"):
        write_bytes(tmp_path / "index.html", b"page")
    assert list(tmp_path.iterdir()) == []
    with hold(tmp_path / "out", "tiny", "w") as store:
        store.put("draws", "one", VALUES)
        (tmp_path / "out/.work/draws/two.npy.partial").symlink_to("/dev/full")
        with pytest.raises(OSError, match="No space left on device; what is done is kept"):
            store.put("draws", "two", np.zeros((9999, 9), np.float32))
        assert store.get("draws", "two") is None
        np.testing.assert_array_equal(store.get("draws", "one"), VALUES)


def test_names_depend_on_every_word(tmp_path: Path) -> None:
    assert len({digest("a", 1), digest("a", 2), digest("a1"), digest("a", "1", "")}) == 4
    for name in ("kept", "old"):
        (tmp_path / name).touch()
    leave_only(tmp_path, lambda name: name == "kept")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
