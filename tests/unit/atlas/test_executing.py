"""Parts of the work on threads: each once, in any order, few ahead; the first failure ends all."""

import threading
from collections import Counter

import pytest

from earwitness.atlas.executing import AHEAD, threads


def test_every_part_is_done_once_and_few_are_ahead() -> None:
    taken: Counter[int] = Counter()
    begun: set[int] = set()
    ahead = 0

    def part(number: int, factor: int) -> int:
        begun.add(number)
        return number * factor

    def take(index: int, result: int) -> None:
        nonlocal ahead
        ahead = max(ahead, len(begun) - sum(taken.values()))
        assert result == index * 3
        taken[index] += 1

    with threads(2) as workers:
        workers.run(part, [(number, 3) for number in range(100)], take)
    assert taken == Counter(range(100))
    assert ahead <= 2 * AHEAD


def test_the_first_failure_ends_all() -> None:
    begun = []

    def part(number: int) -> None:
        begun.append(number)
        if number == 3:
            raise ZeroDivisionError

    with threads(1) as workers, pytest.raises(ZeroDivisionError):
        workers.run(part, [(number,) for number in range(1000)], lambda index, result: None)
    assert len(begun) <= 3 + 2 * AHEAD


def test_results_are_taken_in_the_thread_that_asked() -> None:
    found = []
    with threads(2) as workers:
        workers.run(int, [(1,), (2,)], lambda index, result: found.append(threading.current_thread()))
        workers.run(int, [], lambda index, result: found.clear())
    assert found == [threading.main_thread()] * 2
