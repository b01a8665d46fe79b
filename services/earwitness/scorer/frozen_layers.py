"""What batches are scored against, of several layers in one value of the store.

Of one layer it is that layer's body. Of several an array comes first, `layers` [L] int64: how many bytes the body of
each has; then these follow one after another.
"""

from collections.abc import Sequence

import numpy as np

from earwitness.storage import blobs

_INDEX = "layers"


def joined_body(bodies: Sequence[bytes]) -> bytes:
    """The bodies of a reference's layers, in their order, as one."""
    if len(bodies) == 1:
        return bodies[0]
    return blobs.encode({_INDEX: np.array([len(body) for body in bodies], dtype=np.int64)}) + b"".join(bodies)


def layer_body(joined: bytes, index: int) -> bytes:
    """The body of the layer at `index`.

    Raises: StoreDamaged.
    """
    first = next(blobs.frames(len(joined), lambda start, count: joined[start : start + count]))
    if first.name != _INDEX:
        return joined
    end_of_index = first.start + first.byte_count
    sizes = blobs.decode(joined[:end_of_index])[_INDEX]
    start = end_of_index + int(sizes[:index].sum())
    return joined[start : start + int(sizes[index])]
