#!/usr/bin/env bash
# numpy==2.4.6, scipy==1.17.0, Python 3.11: eigenvalues of a symmetric float32 matrix.
#
# Guess: numpy.linalg.eigvalsh of a float32 matrix runs LAPACK's single-precision routine, as its float32 answer suggests:
# half the memory and about half the time of float64, at single precision.
# Behaviour: it runs the double-precision routine on a float64 copy and rounds at the end. The answer is, bit by bit, the
# rounded answer for the float64 matrix; nothing is saved, and a float32 matrix costs the copy besides. The same holds of
# eigh, eig, eigvals, svd and cholesky. scipy.linalg does run in single precision, and its answers differ in the last digits.
# Seen (400 x 400): all 400 values equal to the rounded ones; scipy's differ in 353 of 400, by 3e-6 of the largest at most.
# It shows where a spectrum of thousands of units is wanted to a few digits only: asking numpy for it in float32 saves nothing.
#
# Exits with 0 while that is so: numpy's equal to the rounded ones in all five functions, scipy's not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'numpy==2.4.6' 'scipy==1.17.0'
cat > "$folder/compare.py" <<'PY'
import numpy as np
import scipy.linalg

rows = np.random.default_rng(0).standard_normal((1000, 400)).astype(np.float32)
single = np.cov(rows, rowvar=False).astype(np.float32)
double = single.astype(np.float64)

ways = {
    "eigvalsh": np.linalg.eigvalsh,
    "eigh": lambda matrix: np.linalg.eigh(matrix)[0],
    "eigvals": lambda matrix: np.sort(np.linalg.eigvals(matrix).real),
    "svd": lambda matrix: np.linalg.svd(matrix, compute_uv=False),
    "cholesky": np.linalg.cholesky,
}
same = {}
for name, way in ways.items():
    found = way(single)
    assert found.dtype == np.float32
    same[name] = bool((found == way(double).astype(np.float32)).all())
    print(f"numpy {name}: float32 answer is the rounded float64 one in every element: {same[name]}")
theirs, exact = scipy.linalg.eigvalsh(single), np.linalg.eigvalsh(double)
assert theirs.dtype == np.float32
others = int((theirs != exact.astype(np.float32)).sum())
print(f"scipy eigvalsh: {others} of {len(theirs)} differ from those, by {np.abs(theirs - exact).max() / exact.max():.0e}")
raise SystemExit(not (all(same.values()) and others))
PY
"$folder/venv/bin/python" "$folder/compare.py"
