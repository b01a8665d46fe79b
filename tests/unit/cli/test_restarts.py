"""How often what ended is started again: some times, with growing pauses, and anew once it has long been well."""

from earwitness.cli.restarts import FORGOTTEN_S, Restarts


def test_pauses_grow_and_come_to_an_end() -> None:
    restarts = Restarts(3)
    assert [restarts.next("scorer", now) for now in (0.0, 5.0, 10.0, 15.0)] == [(1, 1.0), (2, 2.0), (3, 4.0), None]
    assert restarts.next("explainer", 15.0) == (1, 1.0)  # each part has its own


def test_old_starts_are_forgotten() -> None:
    restarts = Restarts(1)
    assert restarts.next("scorer", 0.0) == (1, 1.0)
    assert restarts.next("scorer", FORGOTTEN_S) is None
    assert restarts.next("scorer", FORGOTTEN_S + 2) == (1, 1.0)


def test_none_is_none() -> None:
    assert Restarts(0).next("scorer", 0.0) is None
