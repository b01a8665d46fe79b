"""The cache forgets what was used longest ago, and never what was made last."""

from concurrent.futures import ThreadPoolExecutor

from earwitness.scorer.cache import LruCache


def test_least_recently_used_goes_first() -> None:
    made: list[int] = []

    def make(value: int) -> int:
        made.append(value)
        return value

    cache: LruCache[int, int] = LruCache(10, lambda value: value)
    for key in (4, 5, 4, 3, 4, 5):
        assert cache.get(key, lambda key=key: make(key)) == key  # type: ignore[misc]
    assert made == [4, 5, 3, 5]


def test_one_value_over_the_capacity_is_kept() -> None:
    cache: LruCache[str, int] = LruCache(10, lambda value: value)
    cache.get("small", lambda: 1)
    cache.get("large", lambda: 100)
    assert cache.get("large", lambda: -1) == 100
    assert cache.get("small", lambda: 2) == 2


def test_threads_agree() -> None:
    cache: LruCache[int, int] = LruCache(3, lambda _: 1)
    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(lambda index: cache.get(index % 5, lambda: index % 5), range(2000)))
    assert values == [index % 5 for index in range(2000)]
