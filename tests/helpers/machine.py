"""The machine that figures were measured on."""

import os
import platform
from collections.abc import Iterable
from importlib.metadata import version


def machine(packages: Iterable[str] = ("grpcio", "onnxruntime")) -> dict[str, object]:
    """What the figures depend on; `packages` are those whose versions matter."""
    return {
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "load_average": os.getloadavg(),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }
