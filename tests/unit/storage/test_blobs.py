"""Arrays come back as they were; anything else is noticed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from earwitness.storage.blobs import decode, encode
from earwitness.storage.errors import StoreDamaged

ARRAYS = {
    "rows": np.arange(6, dtype=np.float32).reshape(2, 3),
    "count": np.array(7, dtype=np.int64),
    "names": np.frombuffer(b"abc", dtype=np.uint8),
    "root": np.zeros((4, 0)),
}


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from([np.float32, np.float64, np.int64, np.uint8]).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5))
    )
)
def test_round_trip(array: np.ndarray) -> None:
    both = decode(encode({"first": array, "second": array[..., ::-1] if array.ndim else array}))
    np.testing.assert_array_equal(both["first"], array)
    assert both["first"].dtype == array.dtype
    np.testing.assert_array_equal(both["second"], array[..., ::-1] if array.ndim else array)


def test_values_are_aligned_and_read_only() -> None:
    for array in decode(encode(ARRAYS)).values():
        assert array.flags.aligned
        assert not array.flags.writeable


def test_byte_order_of_the_machine_does_not_matter() -> None:
    little, big = np.arange(3, dtype="<f8"), np.arange(3, dtype=">f8")
    assert encode({"a": little}) == encode({"a": big})


def test_layout() -> None:
    """The format of version 1, byte for byte: what was written once must be read for ever."""
    written = bytes.fromhex("45574152 01 01 01 00 6d65616e0000000000000000 0200000000000000 f8104b24 0000803f 00000040")
    assert encode({"mean": np.array([1.0, 2.0], dtype=np.float32)}) == written
    assert decode(written)["mean"].tolist() == [1.0, 2.0]


def test_every_changed_or_missing_byte_is_noticed() -> None:
    blob = encode(ARRAYS)
    whole = decode(blob)
    for index in range(len(blob)):
        changed = bytearray(blob)
        changed[index] ^= 0x10
        try:
            arrays = decode(bytes(changed))
        except StoreDamaged:
            continue
        # Only the zeros that fill up the end of an array may change unnoticed.
        assert arrays.keys() == whole.keys()
        assert all(np.array_equal(arrays[name], whole[name]) for name in whole)
    for end in range(1, len(blob)):
        try:
            arrays = decode(blob[:end])
        except StoreDamaged:
            continue
        assert len(arrays) < len(whole) or all(np.array_equal(arrays[name], whole[name]) for name in whole)


def test_objects_are_refused() -> None:
    with pytest.raises(KeyError):
        encode({"evil": np.array([object()])})
