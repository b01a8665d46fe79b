"""Places by nearness over several layers, and which rows are kept by them."""

import numpy as np

from earwitness.explainer.nearest import mean_places, nearest


def test_places_are_summed_not_distances() -> None:
    # The second layer's numbers are a thousand times as large and count no more for it.
    distances = np.array([[1.0, 3000.0], [2.0, 1000.0], [3.0, 2000.0]])
    assert mean_places(distances).tolist() == [2.0, 1.5, 2.5]


def test_equal_distances_share_the_best_place() -> None:
    assert mean_places(np.array([[5.0], [1.0], [5.0], [9.0]])).tolist() == [2.0, 1.0, 2.0, 4.0]


def test_the_nearest_come_in_their_own_order_and_ties_by_it() -> None:
    places = np.array([3.0, 1.0, 3.0, 2.0, 3.0])
    assert nearest(places, 3) == [0, 1, 3]
    assert nearest(places, 5) == [0, 1, 2, 3, 4]
