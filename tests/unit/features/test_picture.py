"""Pictures: where the frequency ticks are, and that every profile can be drawn."""

import numpy as np
import pytest

from earwitness.features import PROFILES, get_profile, render_picture
from earwitness.features.picture import _ticks_hz


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_every_profile_has_a_picture(name):
    profile = PROFILES[name]
    png = render_picture(profile, np.full(profile.excerpt_shape, profile.floor_value, np.float32), name)
    assert png.startswith(b"\x89PNG")
    assert profile.value_label.startswith(("log power", "log magnitude"))


def test_a_linear_axis_has_equal_steps_and_a_logarithmic_one_doublings():
    assert _ticks_hz(get_profile("log-power-512@1").band_frequencies_hz()) == [1_000.0 * step for step in range(9)]
    assert _ticks_hz(get_profile("log-cqt-84@1").band_frequencies_hz()) == [50, 100, 200, 500, 1000, 2000]
    assert _ticks_hz(get_profile("log-mel-80@1").band_frequencies_hz()) == [100, 200, 500, 1000, 2000, 4000]
