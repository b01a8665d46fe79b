"""The real Triton server without a container: fetched once from the wheel `nvidia-pytriton` into a folder of its own.

Only the server, its libraries, the python backend and the stub for this interpreter are kept; the wheel's Python code
and requirements are not.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from earwitness.errors import EarwitnessError
from earwitness.folders import cache_folder

TRITON_VERSION = "2.51.0"
WHEEL = "nvidia-pytriton==0.7.0"
WHEEL_SHA256 = {
    "x86_64": "21f063ff93bb426d0c06b7a55e7eb9efcfe62c0dddd9a908e9877e18710128df",
    "aarch64": "f99e07ee56fe065337453956afba17d2673e02ec6a632c3de26ce6e7b32a0898",
}
WHEEL_GLIBC = (2, 35)
WHEEL_BYTES = 55_400_000
"""About the size of the download, for its progress."""
STUB_VERSIONS = ("3.11", "3.12", "3.13")
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 -- where shm_open makes its files, not a place for temporary ones
SHARED_MEMORY_BYTES = 48 * 2**20
"""Free shared memory that one bundle can do with; a batch of 256 spectrograms of 80 × 115 takes 29 MiB of it."""

Progress = Callable[[float], None]
"""Called with the share of the work that is done, 0 to 1."""

DOWNLOAD_SHARE = 0.8
LIBRARIES = "nvidia_pytriton.libs/"
SERVER = "pytriton/tritonserver/"
STUB = "triton_python_backend_stub"


class TritonInstallError(EarwitnessError):
    """The Triton server cannot be fetched or cannot run on this machine; says what is missing and how to get it."""

    reason = "TRITON_INSTALL_FAILED"


@dataclass(frozen=True)
class TritonInstall:
    """An unpacked server. The layout is the wheel's, so that the libraries find each other."""

    folder: Path

    @property
    def server(self) -> Path:
        """The `tritonserver` program."""
        return self.folder / SERVER / "bin/tritonserver"

    @property
    def python_backend(self) -> Path:
        """Folder of the python backend, the stub of this interpreter in it."""
        return self.folder / SERVER / "backends/python"

    @property
    def stub(self) -> Path:
        """The program that holds the Python interpreter of one model instance."""
        return self.python_backend / STUB


def fetch_tritonserver(cache: Path | None = None, progress: Progress | None = None) -> TritonInstall:
    """The server in `cache` (default: `cache_folder()`), downloaded with pip if it is not there yet.

    pip's own configuration of package indexes holds. Any number of processes may call this at once: one downloads, and
    the folder appears complete or not at all.

    Raises: TritonInstallError.
    """
    if problems := _platform_problems():
        raise TritonInstallError("; ".join(problems))
    cache = cache or cache_folder()
    install = TritonInstall(cache / f"tritonserver-{TRITON_VERSION}-cp{_python_version().replace('.', '')}")
    if install.folder.is_dir():
        return install
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / "tritonserver.lock"):
        if not install.folder.is_dir():
            with tempfile.TemporaryDirectory(dir=cache, prefix="tritonserver-") as scratch:
                report = progress or (lambda share: None)
                unpacked = Path(scratch) / "unpacked"
                _unpack(_download(Path(scratch), report), unpacked, report)
                unpacked.rename(install.folder)
    return install


def missing_requirements(install: TritonInstall) -> list[str]:
    """What keeps the fetched server from running here, each with the way out; empty when nothing does."""
    problems = _platform_problems()
    for program in (install.server, install.stub):
        problems += _unresolved_libraries(program)
    free = shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else 0
    if free < SHARED_MEMORY_BYTES:
        problems.append(
            f"{SHARED_MEMORY} has {free // 2**20} MiB free, Triton's python backend needs "
            f"{SHARED_MEMORY_BYTES // 2**20} MiB; in a container start it with --shm-size=256m"
        )
    return problems


def library_path() -> str:
    """LD_LIBRARY_PATH under which the stub finds the shared library of this interpreter."""
    library = sysconfig.get_config_var("INSTSONAME") or ""
    candidates = [Path(sysconfig.get_config_var("LIBDIR") or "."), Path(sys.base_prefix, "lib")]
    folders = [str(folder) for folder in candidates if (folder / library).is_file()]
    return os.pathsep.join(folders[:1] + [each for each in [os.environ.get("LD_LIBRARY_PATH")] if each])


def _python_version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _platform_problems() -> list[str]:
    problems = []
    if sys.platform != "linux" or platform.machine() not in WHEEL_SHA256:
        problems.append(
            f"Triton's wheel runs on Linux on {' or '.join(WHEEL_SHA256)}, this is {sys.platform} on "
            f"{platform.machine()}; use the backend `local` or Triton's container"
        )
    if _python_version() not in STUB_VERSIONS:
        problems.append(
            f"Triton's wheel has no python backend for Python {_python_version()}; "
            f"use Python {' or '.join(STUB_VERSIONS)}, or the backend `local`"
        )
    libc, version = platform.libc_ver()
    if sys.platform == "linux" and (libc != "glibc" or tuple(map(int, version.split("."))) < WHEEL_GLIBC):
        problems.append(
            f"Triton's wheel needs glibc {'.'.join(map(str, WHEEL_GLIBC))} or newer, this system has "
            f"{libc or 'another C library'} {version}; use the backend `local` or Triton's container"
        )
    return problems


def _unresolved_libraries(program: Path) -> list[str]:
    """Ask the dynamic loader, which answers instead of running the program."""
    environment = {**os.environ, "LD_LIBRARY_PATH": library_path(), "LD_TRACE_LOADED_OBJECTS": "1"}
    try:
        traced = subprocess.run(  # noqa: S603 -- the server fetched above
            [program], env=environment, capture_output=True, text=True, timeout=30
        )
    except OSError as err:
        return [f"{program} cannot be run: {err.strerror}; remove {program.parents[4]} to fetch it again"]
    problems = [line.strip() for line in traced.stderr.splitlines() if "not found" in line]
    for name in (line.split()[0] for line in traced.stdout.splitlines() if "not found" in line):
        if name.startswith("libpython"):
            problems.append(
                f"{name}, this interpreter's shared library, is not installed; install it "
                f"(Debian: libpython{_python_version()}) or use a Python built with --enable-shared"
            )
        else:
            problems.append(f"{program.name} needs {name}, which this system does not have")
    return problems


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _download(scratch: Path, progress: Progress) -> Path:
    """The wheel, checked, in `scratch`. pip writes nowhere else, so its progress is the size of the folder."""
    target = scratch / "wheel"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir"]
    command += ["--only-binary", ":all:", "--dest", str(target), WHEEL]
    environment = {**os.environ, "TMPDIR": str(scratch), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    with subprocess.Popen(  # noqa: S603 -- a fixed command
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as pip:
        while True:
            try:
                complaint = pip.communicate(timeout=0.2)[1]
                break
            except subprocess.TimeoutExpired:
                progress(DOWNLOAD_SHARE * min(1.0, _size(scratch) / WHEEL_BYTES))
    if pip.returncode:
        raise TritonInstallError(f"Triton's server ({WHEEL}) could not be downloaded: {complaint.strip()[-800:]}")
    (wheel,) = target.glob("*.whl")
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != WHEEL_SHA256[platform.machine()]:
        raise TritonInstallError(
            f"{wheel.name} has SHA-256 {found}, expected {WHEEL_SHA256[platform.machine()]}: the package index gave "
            "another file than the one this version was tested with; nothing was installed"
        )
    return wheel


def _size(folder: Path) -> int:
    """Bytes below `folder` while another process writes there."""
    size = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # moved since it was listed
                size += Path(path, name).stat().st_size
    return size


def _unpack(wheel: Path, folder: Path, progress: Progress) -> None:
    stub = f"{SERVER}python_backend_stubs/{_python_version()}/{STUB}"
    wanted = (f"{SERVER}bin/", f"{SERVER}backends/python/", LIBRARIES)
    with zipfile.ZipFile(wheel) as archive:
        chosen = [
            info
            for info in archive.infolist()
            if not info.is_dir() and (info.filename.startswith(wanted) or "/licenses/" in info.filename)
        ]
        if _python_version() != "3.13":  # its stub alone comes with an interpreter library of its own
            chosen = [info for info in chosen if not info.filename.startswith(f"{LIBRARIES}libpython3")]
        for i, info in enumerate([*chosen, archive.getinfo(stub)]):
            archive.extract(info, folder)
            progress(DOWNLOAD_SHARE + (1 - DOWNLOAD_SHARE) * (i + 1) / (len(chosen) + 1))
    install = TritonInstall(folder)
    (folder / stub).rename(install.stub)
    for program in (install.server, install.stub):
        program.chmod(0o755)
