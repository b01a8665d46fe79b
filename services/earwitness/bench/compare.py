"""Two benchmarks side by side: ratios of their figures, and whether they may be compared at all."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from earwitness.bench.report import FORMAT
from earwitness.errors import InvalidArgument

HARDWARE = ("processor", "processors", "memory_gib")
"""Of a machine's description: what has to be the same. Versions are what one compares."""
UNSEEN = ("model",)
"""Of a plan: compared on their own."""
OF_STEP = {"calls_per_s": "calls/s", "row_steps_per_s": "row-steps/s"}
OF_KIND = {"p50_s": "p50", "p99_s": "p99"}
CONCLUSIONS = (
    ("knee", "calls_per_s", "calls/s at the knee"),
    ("overload", "slowdown", "p99 under overload over unloaded"),
    ("overload", "refused_p99_s", "p99 of refusals under overload, s"),
)
Document = Mapping[str, Any]


@dataclass(frozen=True)
class Ratio:
    """One figure of both; `ratio` is the second over the first, None where that cannot be said."""

    what: str
    first: float | None
    second: float | None

    @property
    def ratio(self) -> float | None:
        """The second over the first."""
        return self.second / self.first if self.first and self.second is not None else None


@dataclass(frozen=True)
class Comparison:
    """Figures of both, and in words what makes them figures of different things."""

    differences: tuple[str, ...]
    ratios: tuple[Ratio, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "comparable": not self.differences,
            "differences": list(self.differences),
            "figures": [{**asdict(each), "ratio": each.ratio} for each in self.ratios],
        }


def read_document(path: Path) -> Document:
    """A benchmark's document: `bench.json`, or the folder with it.

    Raises: OSError; InvalidArgument for what is none.
    """
    file = path / "bench.json" if path.is_dir() else path
    try:
        document: Document = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as err:
        raise InvalidArgument("compare", f"{file} is no JSON document; give bench.json of two runs") from err
    if not isinstance(document, Mapping) or document.get("format") != FORMAT:
        raise InvalidArgument(
            "compare", f"{file} is not what this version's `earwitness bench --out` writes (format {FORMAT})"
        )
    return document


def compare(first: Document, second: Document) -> Comparison:
    """Every figure that both have, the second over the first."""
    ratios = []
    for part, meaning in (("closed", "clients {clients}"), ("triton", "Triton alone, clients {clients}")):
        others = {step["clients"]: step for step in second[part]}
        for step in first[part]:
            if step["clients"] in others:
                ratios += _of_step(meaning.format(**step), step, others[step["clients"]])
    shares = second["plan"]["rate_shares"]
    for share, step in zip(first["plan"]["rate_shares"], first["opened"], strict=True):
        if share in shares:
            ratios += _of_step(f"{share:g} times the best rate", step, second["opened"][shares.index(share)])
    for part, name, what in CONCLUSIONS:
        one, other = ((each["conclusions"][part] or {}).get(name) for each in (first, second))
        ratios.append(Ratio(what, one, other))
    return Comparison(tuple(_differences(first, second)), tuple(ratios))


def _of_step(where: str, first: Document, second: Document) -> list[Ratio]:
    found = [Ratio(f"{where}: {what}", first[name], second[name]) for name, what in OF_STEP.items()]
    others = {each["kind"]: each for each in second["kinds"]}
    for each in first["kinds"]:
        if other := others.get(each["kind"]):
            found += [
                Ratio(f"{where}: {what} of {each['kind']}, s", each[name], other[name])
                for name, what in OF_KIND.items()
            ]
    return found


def _differences(first: Document, second: Document) -> list[str]:
    """What has to be the same and is not, in words."""
    pairs = {
        **{f"machine: {name}": [each["machine"][name] for each in (first, second)] for name in HARDWARE},
        "model": [each["plan"]["model"] for each in (first, second)],
        "weights": [each["weights_sha256"][:12] for each in (first, second)],
        "models run on": [each["backend"].split()[0] for each in (first, second)],
        **{
            f"option {name}": [each["plan"].get(name) for each in (first, second)]
            for name in first["plan"]
            if name not in UNSEEN
        },
    }
    return [f"{what}: {one} and {other}" for what, (one, other) in pairs.items() if one != other]
