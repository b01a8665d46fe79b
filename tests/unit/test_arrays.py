"""Arrays from files: a header's claims are weighed before memory is taken, and what is honest is read."""

import io
import re
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from earwitness import arrays
from earwitness.arrays import load
from earwitness.client.activations import load_activations
from earwitness.client.reference_file import read_reference
from earwitness.client.sweep_archive import ARCHIVE_FILE, read_archive
from earwitness.errors import InvalidArgument

MIB = 2**20


def header(shape: tuple[int, ...], descr: str = "<f4", length: int | None = None) -> bytes:
    """The beginning of an npy file that claims so."""
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}".encode() + b"\n"
    return b"\x93NUMPY\x02\x00" + (len(text) if length is None else length).to_bytes(4, "little") + text


def npz(members: dict[str, bytes]) -> bytes:
    """An archive of npy files."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def refusal(path: Path, max_bytes: int | None = None) -> str:
    """What is said of a file that is not read, for which no memory to speak of was taken."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError) as caught:  # noqa: PT011 -- the words are what is tested
            load(path, max_bytes)
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()
    return str(caught.value)


@pytest.mark.parametrize("packed", [False, True])
def test_what_is_honest_is_read(tmp_path: Path, packed: bool) -> None:
    table, words = np.arange(6.0).reshape(2, 3), np.array("a text")
    np.save(tmp_path / "a.npy", table)
    (np.savez_compressed if packed else np.savez)(tmp_path / "b.npz", table=table, words=words, none=np.zeros((0, 3)))
    np.testing.assert_array_equal(load(tmp_path / "a.npy"), table)
    with load(tmp_path / "b.npz") as stored, (tmp_path / "b.npz").open("rb") as file, load(file) as again:
        np.testing.assert_array_equal(stored["table"], again["table"])
        assert (str(stored["words"]), stored["none"].shape) == ("a text", (0, 3))


@pytest.mark.parametrize("wrap", [lambda data: data, lambda data: npz({"rows": data})], ids=["npy", "npz"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (header((10**6, 10**7)) + bytes(64), "claims 36.38 TiB of float32; .* at most .* are read of a file"),
        (header((2**62, 2**62)) + bytes(64), "PiB of float32; .* at most"),
        (header((500, 1000), "<f8") + bytes(64), "claims 3.815 MiB of float64, and holds 64 bytes: it is cut off"),
        (header((2, 2), length=2**32 - 1), "its header claims 4 GiB"),
        (header((-1, 2)) + bytes(64), r"claims the shape \(-1, 2\)"),
        (header((2**40,), "|S0"), "elements of type"),
        (header((2,), "|O") + bytes(64), "elements of type object"),
        (b"\x93NUMPY\x03\x00" + bytes(64), "format"),
        (b"\x93NUMPY\x01\x00\x10\x00" + b"-" * 16, "header|Cannot parse"),
        (b"\x93NUM", "no npy or npz|magic"),
    ],
)
def test_claims_beyond_the_file_or_the_memory_are_refused(
    tmp_path: Path, wrap: Callable[[bytes], bytes], content: bytes, said: str
) -> None:
    (tmp_path / "x").write_bytes(wrap(content))
    found = refusal(tmp_path / "x")
    assert re.search(said, found), found


def test_an_archive_that_grows_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    """4 kB that unpack to 4 MiB, in one array and in four, none of which is too much alone."""
    np.savez_compressed(tmp_path / "one.npz", a=np.zeros(4 * MIB, np.uint8))
    np.savez_compressed(tmp_path / "four.npz", **{f"a{i}": np.zeros(MIB, np.uint8) for i in range(4)})
    said = "a.npy claims 4 MiB of uint8; with this machine's memory at most 2 MiB in all are read of a file"
    assert refusal(tmp_path / "one.npz", 2 * MIB) == said
    assert "a2.npy claims 1 MiB" in refusal(tmp_path / "four.npz", 2 * MIB)


def test_the_limit_is_half_of_the_memory_that_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_machine = arrays.memory_bytes()
    (tmp_path / "limit").write_text(f"{8 * MIB}\n")
    monkeypatch.setattr(arrays, "CGROUP_LIMIT", tmp_path / "limit")
    assert arrays.memory_bytes() == 8 * MIB < of_machine
    np.save(tmp_path / "a.npy", np.zeros(5 * MIB, np.uint8))
    assert "claims 5 MiB of uint8; with this machine's memory at most 4 MiB" in refusal(tmp_path / "a.npy")
    (tmp_path / "limit").write_text("max\n")
    assert len(load(tmp_path / "a.npy")) == 5 * MIB


def test_whoever_reads_a_users_file_names_it(tmp_path: Path) -> None:
    claim = header((10**6, 10**7)) + bytes(64)
    (tmp_path / "a.npy").write_bytes(claim)
    for name in ("explanations.npz", ARCHIVE_FILE, "reference.npz"):
        (tmp_path / name).write_bytes(npz({"description": claim, "layer_activations": claim}))
    reading: list[tuple[str, Callable[[], object]]] = [
        ("a.npy", lambda: load_activations(tmp_path / "a.npy")),
        ("explanations.npz", lambda: load_activations(tmp_path)),
        (ARCHIVE_FILE, lambda: read_archive(tmp_path)),
        ("reference.npz", lambda: read_reference(tmp_path / "reference.npz")),
    ]
    for name, read in reading:
        with pytest.raises(InvalidArgument, match=rf"{name} .*claims 36.38 TiB of float32"):
            read()


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "explanations.npz", **dict.fromkeys("abc", np.random.default_rng(0).normal(size=99)))
    whole = (tmp_path / "explanations.npz").read_bytes()
    for broken in (whole[:300], whole[:200] + bytes(100) + whole[300:]):
        (tmp_path / "explanations.npz").write_bytes(broken)
        with pytest.raises(InvalidArgument, match=r"explanations\.npz"):
            load_activations(tmp_path)
