"""Numba's cache begins with what an image holds, and with nothing where that cannot be."""

from pathlib import Path

import pytest

from earwitness.features.compiled import CACHE, COMPILED, begin_cache


@pytest.fixture
def compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What an image holds: one file of a package."""
    folder = tmp_path / "compiled"
    (folder / "core").mkdir(parents=True)
    (folder / "core/spectrum.nbi").write_bytes(b"code")
    monkeypatch.setenv(COMPILED, str(folder))
    monkeypatch.setenv(CACHE, str(tmp_path / "tmp/numba"))
    return folder


def test_begins_with_what_was_compiled_and_is_left_alone_then(compiled: Path, tmp_path: Path) -> None:
    begin_cache()
    cache = tmp_path / "tmp/numba"
    assert (cache / "core/spectrum.nbi").read_bytes() == b"code"
    assert (cache / "core/spectrum.nbi").stat().st_mtime_ns == (compiled / "core/spectrum.nbi").stat().st_mtime_ns
    (cache / "core/spectrum.nbi").write_bytes(b"newer")
    begin_cache()
    assert (cache / "core/spectrum.nbi").read_bytes() == b"newer"
    assert list((tmp_path / "tmp").iterdir()) == [cache]


@pytest.mark.parametrize("missing", [COMPILED, CACHE])
def test_without_either_folder_nothing_is_written(
    compiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.delenv(missing)
    begin_cache()
    assert list(tmp_path.iterdir()) == [compiled]


def test_an_image_without_it_and_a_place_that_cannot_be_written_are_no_errors(
    compiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE, str(compiled / "core/spectrum.nbi/numba"))  # below a file
    begin_cache()
    monkeypatch.setenv(COMPILED, str(tmp_path / "none"))
    begin_cache()
    assert list(tmp_path.iterdir()) == [compiled]
