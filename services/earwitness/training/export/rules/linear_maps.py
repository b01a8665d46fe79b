"""Linear maps that act on each spatial axis by itself: averaging, resampling, border padding.

The gradient of such a map is its transpose, so both are products with one constant matrix per axis.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Matrix = NDArray[np.float64]


def along_axes(x: Tensor, matrices: Sequence[Matrix]) -> Tensor:
    """`x` `[B, C, n1, n2, ...]` with axis i multiplied by the `[ni, mi]` matrix i: `[B, C, m1, m2, ...]`."""
    for axis, matrix in enumerate(matrices, start=2):
        # from_numpy passes by the tracer: the graph gets a constant, not the operations that build it.
        weight = torch.from_numpy(np.ascontiguousarray(matrix)).to(x.dtype)
        lines = x.movedim(axis, -1)
        mapped = torch.mm(lines.reshape(-1, lines.shape[-1]), weight)
        x = mapped.reshape(-1, *lines.shape[1:-1], weight.shape[1]).movedim(-1, axis)
    return x
