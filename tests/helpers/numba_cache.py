"""`python -m tests.helpers.numba_cache`: what numba compiles for librosa, once for all processes of the tests.

Each begins with a copy: of two that fill the same cache at once, one may find the other's code there and crash.
"""

import os
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "out/numba"
COMPILED = FOLDER / "compiled"

if __name__ == "__main__" and not COMPILED.is_dir():
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as filling:
        os.environ["NUMBA_CACHE_DIR"] = f"{filling}/all"  # before numba is imported, which reads it then
        import librosa
        import numpy as np

        librosa.griffinlim(np.ones((513, 4), np.float32), n_iter=1)
        Path(filling, "all").rename(COMPILED)  # all of it, or nothing
