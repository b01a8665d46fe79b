"""Keys are never given twice, and later ones are greater."""

from earwitness.storage.columns import new_key


def test_keys() -> None:
    keys = [new_key() for _ in range(2000)]
    assert len({*keys}) == len(keys)
    assert keys[0] < keys[-1], "in the order of time, but for those of one microsecond"
    assert all(2**32 < key < 2**63 for key in keys), "beyond what a database has counted to, within its integers"
