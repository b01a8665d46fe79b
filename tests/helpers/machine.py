"""The machine that figures were measured on."""

import os
import platform
from collections.abc import Iterable
from importlib.metadata import version

import onnxruntime


def machine(packages: Iterable[str] = ("grpcio",)) -> dict[str, object]:
    """What the figures depend on; `packages` are those whose versions matter besides."""
    return {
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "load_average": os.getloadavg(),
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,  # whichever of its distributions is installed
        **{name: version(name) for name in packages},
    }
