"""Earwitness: hear what an audio network listens for, and know how far to trust what you hear."""

import os

__version__ = "0.1.0"

# ONNX Runtime's own wheels for Linux, from 1.29 on, give the machine an id, keep it in the user's cache folder, and
# report to their maker what is loaded and run, unless this is set before their first import. Set it to 0 to report.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
