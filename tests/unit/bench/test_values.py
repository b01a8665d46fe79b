"""What a plan refuses before any work, how its calls are spread, and how orders are shared out."""

from collections import Counter
from typing import Any

import pytest

from earwitness.bench.calls import Access, Work
from earwitness.bench.generator import Order, Setup
from earwitness.bench.load import shared
from earwitness.bench.values import Plan
from earwitness.client.channel import Tls
from earwitness.errors import InvalidArgument


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"clients": (0, 1)}, "clients: got 0; give 1 to 1024"),
        ({"clients": ()}, "clients: got"),
        ({"clients": (4, 2)}, "clients: got"),
        ({"rate_shares": (0.0,)}, "rates: got 0"),
        ({"mix": {"explain": 1, "dance": 1}}, "mix: got 'dance'; the kinds are explain, stream, score"),
        ({"mix": {"explain": 0}}, "mix: asks for no call"),
        ({"seconds": 0.5}, "seconds: got 0.5"),
        ({"warm_up_s": -1.0}, "warm_up: got -1"),
        ({"processes": 0}, "processes: got 0"),
        ({"rows": 0}, "rows: got 0"),
        ({"steps": 0}, "steps: got 0"),
    ],
)
def test_plan_refuses(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words.replace("(", r"\(")):
        Plan("tiny", **changed)


def test_round_spreads_the_kinds() -> None:
    found = Plan("tiny", mix={"explain": 4, "stream": 2, "score": 1}).round
    assert Counter(found) == {"explain": 4, "stream": 2, "score": 1}
    assert all(found[at : at + 3] != ("explain",) * 3 for at in range(5))


def test_shares_of_an_order_are_the_order() -> None:
    order = Order("mixed", clients=5, first=0, rate_per_s=9.0, seconds=2.0, sweeping=True)
    parts = shared(order, 3)
    assert [(each.first, each.clients) for each in parts] == [(0, 2), (2, 2), (4, 1)]
    assert sum(each.rate_per_s for each in parts) == 9.0
    assert [each.sweeping for each in parts] == [True, False, False]


@pytest.mark.parametrize("tls", [None, Tls(), "files"])
def test_setup_survives_its_line(tls: Any, tmp_path: Any) -> None:
    certificates = Tls(tmp_path / "ca", tmp_path / "crt", tmp_path / "key") if tls == "files" else tls
    access = Access("a:1", "b:2", None, "secret", certificates)
    setup = Setup(access, Work("tiny", "0" * 64, "fc3", 2, 5, "fc2", 5, "r"), ("explain", "score"), 7)
    assert Setup.read(setup.line()) == setup
