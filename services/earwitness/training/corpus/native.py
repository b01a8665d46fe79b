"""Extension modules of packages whose initialiser cannot run: pyworld and pysinsy import pkg_resources, which is gone
from setuptools 81 on."""

import importlib.machinery
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any


def package_folder(package: str) -> Path:
    """Where an installed package lies, without importing it.

    Raises: ModuleNotFoundError naming the extra that brings it.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"{package} is not installed; install earwitness[train]", name=package)
    return Path(spec.submodule_search_locations[0])


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps what C code writes to standard error from the terminal, where progress is shown."""
    terminal = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)


@cache
def extension(package: str, module: str) -> Any:
    """The extension module `package.module`, loaded past the package's own `__init__`.

    Raises: ModuleNotFoundError when it is not installed.
    """
    folder = package_folder(package)
    spec = importlib.machinery.PathFinder.find_spec(f"{package}.{module}", [str(folder)])
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"{package} in {folder} has no module {module}; reinstall it", name=package)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded
