"""Fetching the server with the real pip, from a folder that holds a wheel of the same layout."""

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest

from earwitness.inference import triton_install
from earwitness.inference.triton_install import TritonInstallError, fetch_tritonserver, missing_requirements

SERVER = "pytriton/tritonserver"
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
FILES = {
    f"{SERVER}/bin/tritonserver": "#!/bin/sh",
    f"{SERVER}/backends/python/libtriton_python.so": "",
    f"{SERVER}/python_backend_stubs/{VERSION}/triton_python_backend_stub": "#!/bin/sh",
    f"{SERVER}/python_backend_stubs/3.8/triton_python_backend_stub": "of another Python",
    f"{SERVER}/caches/local/libtritoncache_local.so": "not needed",
    "nvidia_pytriton.libs/libcudart-1.so": "",
    "pytriton/triton.py": "not needed",
    "nvidia_pytriton-0.7.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: nvidia-pytriton\nVersion: 0.7.0\n",
    "nvidia_pytriton-0.7.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: py3-none-any\n",
    "nvidia_pytriton-0.7.0.dist-info/RECORD": "",
    "nvidia_pytriton-0.7.0.dist-info/licenses/LICENSE": "Apache 2.0",
}


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes the wheel from, and no index beside it."""
    folder = tmp_path / "index"
    folder.mkdir()
    wheel = folder / "nvidia_pytriton-0.7.0-py3-none-any.whl"
    with ZipFile(wheel, "w") as archive:
        for name, text in FILES.items():
            archive.writestr(name, text)
    for variable in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("EARWITNESS_CACHE", str(tmp_path / "cache"))
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    monkeypatch.setitem(triton_install.WHEEL_SHA256, platform.machine(), digest)
    return folder


def test_the_server_is_unpacked_once(index: Path, tmp_path: Path):
    shares: list[float] = []
    install = fetch_tritonserver(progress=shares.append)
    assert install.folder.parent == tmp_path / "cache"
    assert os.access(install.server, os.X_OK)
    assert os.access(install.stub, os.X_OK)
    found = {str(path.relative_to(install.folder)) for path in install.folder.rglob("*") if path.is_file()}
    assert found == {
        f"{SERVER}/bin/tritonserver",
        f"{SERVER}/backends/python/libtriton_python.so",
        f"{SERVER}/backends/python/triton_python_backend_stub",
        "nvidia_pytriton.libs/libcudart-1.so",
        "nvidia_pytriton-0.7.0.dist-info/licenses/LICENSE",
    }
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    next(index.glob("*.whl")).unlink()
    assert fetch_tritonserver() == install
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [install.folder.name, "tritonserver.lock"]


def test_another_file_than_the_pinned_one_is_refused(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(triton_install.WHEEL_SHA256, platform.machine(), "0" * 64)
    with pytest.raises(TritonInstallError, match=r"has SHA-256 .* expected 0{64}"):
        fetch_tritonserver()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["tritonserver.lock"]


def test_a_failed_download_says_what_pip_said(index: Path):
    next(index.glob("*.whl")).unlink()
    with pytest.raises(TritonInstallError, match="No matching distribution found for nvidia-pytriton"):
        fetch_tritonserver()


def test_several_processes_may_fetch_at_once(index: Path, tmp_path: Path):
    program = (
        "import sys\nfrom earwitness.inference import triton_install as t\n"
        "t.WHEEL_SHA256[sys.argv[1]] = sys.argv[2]\nprint(t.fetch_tritonserver().folder)"
    )
    pinned = triton_install.WHEEL_SHA256[platform.machine()]
    command = [sys.executable, "-c", program, platform.machine(), pinned]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    printed = {process.communicate()[0].strip() for process in running}
    assert [process.returncode for process in running] == [0, 0, 0]
    (folder,) = printed
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [Path(folder).name, "tritonserver.lock"]


def test_a_damaged_install_is_named(index: Path):
    install = fetch_tritonserver()
    install.stub.unlink()
    assert any("cannot be run" in problem for problem in missing_requirements(install))


@pytest.mark.parametrize(
    ("name", "replacement", "message"),
    [
        ("machine", lambda: "riscv64", "runs on Linux on x86_64 or aarch64, this is linux on riscv64"),
        ("libc_ver", lambda: ("glibc", "2.31"), r"needs glibc 2\.35 or newer, this system has glibc 2\.31"),
        ("libc_ver", lambda: ("", ""), "this system has another C library"),
    ],
)
def test_a_machine_that_cannot_run_it_downloads_nothing(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, replacement: Callable, message: str
):
    monkeypatch.setattr(platform, name, replacement)
    with pytest.raises(TritonInstallError, match=message):
        fetch_tritonserver()
    assert not (tmp_path / "cache").exists()


def test_a_python_without_a_stub_is_refused(index: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(triton_install, "STUB_VERSIONS", ("3.1",))
    with pytest.raises(TritonInstallError, match=f"no python backend for Python {VERSION}; use Python 3.1"):
        fetch_tritonserver()
