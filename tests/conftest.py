"""Every process of the tests computes on one thread, those it starts too: they run side by side, on small arrays."""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # before numpy and torch are imported, which read them then
