"""A reference as a file: what comes back is what was written, bit for bit, and anything else is refused in words."""

import json
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from earwitness.client.partials import Partial, VersionStatistics
from earwitness.client.reference_file import read_reference, write_reference
from earwitness.client.values import KeptLayer, Reference, ReferenceIdentity, ReferenceVersion, Selection
from earwitness.errors import InvalidArgument

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, UTC)
IDENTITY = ReferenceIdentity("svd-r1", "ab" * 32, "fc8", 4, "log-mel-80@1")
ALL, TOP = Selection(), Selection("top", 3, 10)


def statistics(selection: Selection, count: int = 100) -> VersionStatistics:
    rows = np.random.default_rng(0).standard_normal((count, 4)).astype(np.float32)
    version = ReferenceVersion("references/r/versions/3", count, min(count, selection.k or count), NOW, None, 0.1)
    reference = Reference("r", IDENTITY, selection, "ü\nsongs", 500, 7, (version,), '"etag"', NOW)
    return VersionStatistics(reference, version, Partial.of(rows, selection))


@pytest.mark.parametrize("given", [statistics(ALL), statistics(ALL, 5), statistics(TOP)], ids=["all", "few", "top"])
def test_what_was_written_comes_back(tmp_path: Path, given: VersionStatistics) -> None:
    about = write_reference(given, tmp_path / "new/r.npz")
    found = read_reference(tmp_path / "new/r.npz")
    assert found.about == about
    assert (about.version, about.identity, about.selection) == (given.version, IDENTITY, given.reference.selection)
    assert about.description == "ü\nsongs"
    assert found.partial.row_count == given.version.row_count
    assert found.partial.to_bytes() == given.partial.to_bytes()


def test_rows_of_several_layers_say_which(tmp_path: Path) -> None:
    kept = (KeptLayer("pool3", 3), KeptLayer("fc8", 4))
    rows = np.random.default_rng(0).standard_normal((50, 7)).astype(np.float32)
    given = statistics(TOP)
    partial = Partial.of(rows, TOP, first_column=3)
    np.testing.assert_array_equal(partial.rows, rows[np.argsort(-rows[:, 6])[:10]])
    deep = replace(given, reference=replace(given.reference, kept_layers=kept), partial=partial)
    about = write_reference(deep, tmp_path / "deep.npz")
    found = read_reference(tmp_path / "deep.npz")
    assert (found.about, found.about.kept_layers) == (about, kept)
    assert found.partial.to_bytes() == partial.to_bytes()
    # A version that knows no such rows refuses the file by its format.
    assert about.format == "earwitness-reference-2"
    assert write_reference(given, tmp_path / "plain.npz").format == "earwitness-reference-1"


def test_a_file_of_before_is_read(tmp_path: Path) -> None:
    path = tmp_path / "r.npz"
    write_reference(statistics(TOP), path)
    with np.load(path) as stored:
        said = json.loads(str(stored["description"]))
    del said["kept_layers"]  # all that is new in it
    changed(path, description=np.array(json.dumps(said)))
    found = read_reference(path)
    assert found.about.kept_layers == ()
    assert found.partial.to_bytes() == statistics(TOP).partial.to_bytes()


def test_numpy_reads_it(tmp_path: Path) -> None:
    write_reference(statistics(ALL), tmp_path / "r.npz")
    with np.load(tmp_path / "r.npz") as stored:
        assert sorted(stored.files) == ["description", "maximum", "mean", "minimum", "scatter"]
        assert stored["scatter"].shape == (4, 4)
        assert '"layer":"fc8"' in str(stored["description"])


def test_a_file_is_replaced_only_when_asked_and_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.npz"
    write_reference(statistics(ALL), path)
    before = path.read_bytes()
    with pytest.raises(InvalidArgument, match="is there already; choose another name, or replace it with --force"):
        write_reference(statistics(TOP), path)
    with pytest.raises(InvalidArgument, match="is a folder"):
        write_reference(statistics(TOP), tmp_path, force=True)

    def full(file: Any, **arrays: Any) -> None:
        file.write(b"some")
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(np, "savez", full)
        with pytest.raises(OSError, match="no space left"):
            write_reference(statistics(TOP), path, force=True)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    write_reference(statistics(TOP), path, force=True)
    assert read_reference(path).about.selection == TOP


def changed(path: Path, **changes: Any) -> None:
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files} | changes
    np.savez(path, **{name: each for name, each in arrays.items() if each is not None})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"description": None}, "it has no 'description'"),
        ({"description": np.array("{}")}, "format: Field required"),
        ({"description": np.array("no JSON")}, "Invalid JSON"),
        ({"scatter": None}, "it has no 'scatter'"),
        ({"mean": np.zeros(4)}, "its numbers are not those that were written"),
        ({"scatter": np.zeros((3, 3))}, "its numbers are not those that were written"),
        ({"minimum": np.array("none")}, ""),
        ({"mean": None}, "it has no 'rows'"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = tmp_path / "r.npz"
    write_reference(statistics(ALL), path)
    changed(path, **changes)
    with pytest.raises(InvalidArgument, match=r"r\.npz is no whole reference as exported \(.*" + said) as caught:
        read_reference(path)
    assert caught.value.field == "file"


def test_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.npz"
    write_reference(statistics(ALL), path)
    with np.load(path) as stored:
        text = str(stored["description"])
    changed(path, description=np.array(text.replace("earwitness-reference-1", "earwitness-reference-3")))
    with pytest.raises(InvalidArgument, match="format: Input should be 'earwitness-reference-1' or"):
        read_reference(path)


def test_broken_files_are_refused(tmp_path: Path) -> None:
    """Cut anywhere, or with any byte changed: refused in words, or, where no number is touched, as it was."""
    path = tmp_path / "r.npz"
    write_reference(statistics(TOP), path)
    whole = path.read_bytes()
    intact = read_reference(path).partial.to_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(InvalidArgument, match="is no whole reference as exported"):
            read_reference(path)
    for place in range(0, len(whole), 41):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        with suppress(InvalidArgument):
            assert read_reference(path).partial.to_bytes() == intact
    np.save(tmp_path / "r.npy", np.zeros(3))
    with pytest.raises(InvalidArgument, match="it is no npz file"):
        read_reference(tmp_path / "r.npy")
    with pytest.raises(FileNotFoundError):
        read_reference(tmp_path / "none.npz")
