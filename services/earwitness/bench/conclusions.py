"""What the figures of the steps say, in numbers and in a sentence each."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from earwitness.bench.values import CLIENT_KINDS, BenchReport, StepFigures

TOLERANCE = 0.05
"""A throughput so near to the best is as good."""
FEW_CALLS = 20
"""Fewer in a step say little."""
FOREIGN_SHARE = 0.1
"""More of the machine than this, used by others, disturbs."""


@dataclass(frozen=True)
class Knee:
    """The fewest clients that have the best throughput, or as good as it: more of them only wait longer."""

    clients: int
    calls_per_s: float
    best_clients: int
    best_calls_per_s: float

    @property
    def words(self) -> str:
        """In a sentence."""
        if self.clients == self.best_clients:
            return f"The knee is at {_clients(self.clients)}: {self.calls_per_s:.3g} calls/s, the most there were."
        return (
            f"The knee is at {_clients(self.clients)}: {self.calls_per_s:.3g} calls/s, within {100 * TOLERANCE:.0f} % "
            f"of the best, {self.best_calls_per_s:.3g} with {_clients(self.best_clients)}."
        )


@dataclass(frozen=True)
class Overload:
    """What an open loop beyond the best throughput did, beside the closed loop of the fewest clients.

    `slowdown` is the p99 of admitted calls over theirs unloaded, `refused_p50_s` and `refused_p99_s` how soon refusals
    came: all of the kind where it is worst.
    """

    times_best: float
    begun_per_s: float
    calls_per_s: float
    refused_share: float
    refused_p50_s: float | None
    refused_p99_s: float | None
    slowdown: float | None
    slowest_kind: str | None
    unloaded_clients: int

    @property
    def words(self) -> str:
        """In a sentence."""
        said = (
            f"At {self.begun_per_s:.3g} calls/s, {self.times_best:.3g} times the best, {self.calls_per_s:.3g} a second "
            f"succeeded and {100 * self.refused_share:.0f} % were refused"
        )
        if self.refused_p50_s is not None and self.refused_p99_s is not None:
            soon_ms, late_ms = 1e3 * self.refused_p50_s, 1e3 * self.refused_p99_s
            said += f", half of those within {soon_ms:.3g} ms, 99 % within {late_ms:.3g} ms"
        if self.slowdown is None:
            return f"{said}."
        unloaded = f"with {_clients(self.unloaded_clients)}"
        return f"{said}; the p99 of admitted calls was {self.slowdown:.3g} times that {unloaded} ({self.slowest_kind})."


@dataclass(frozen=True)
class Conclusions:
    """All of it. `services_share` is the best row-steps/s through the services over Triton's alone."""

    knee: Knee | None
    triton_knee: Knee | None
    services_share: float | None
    overload: Overload | None
    sentences: tuple[str, ...]


def conclude(report: BenchReport) -> Conclusions:
    """What a report says."""
    knee, triton_knee = knee_of(report.closed), knee_of(report.triton)
    share = None
    through = max((each.row_steps_per_s for each in report.closed), default=0.0)
    alone = max((each.row_steps_per_s for each in report.triton), default=0.0)
    sentences = [knee.words] if knee else ["No call succeeded."]
    if alone > 0:
        share = through / alone
        calls = "scores and sweeps among the calls" if report.plan.mix.get("score") else "sweeps among them"
        sentences.append(
            f"Through the services {through:.3g} row-steps/s at best, {calls if report.plan.sweeping else 'searches'}; "
            f"Triton alone {alone:.3g}: the services keep {100 * share:.0f} % of it."
        )
    overload = _overload(report)
    sentences += [overload.words] if overload else []
    return Conclusions(knee, triton_knee, share, overload, (*sentences, *_reservations(report)))


def _reservations(report: BenchReport) -> list[str]:
    """Why the figures may not be what they seem."""
    sentences = []
    steps = (*report.closed, *report.triton, *report.opened)
    fewest = min(report.closed, key=lambda each: each.calls_per_s * each.window_s, default=None)
    if fewest is not None and fewest.calls_per_s * fewest.window_s < FEW_CALLS:
        sentences.append(
            f"With {_clients(fewest.clients)} {fewest.calls_per_s * fewest.window_s:.0f} of the calls succeeded in the "
            "measured time, too few to trust: give --seconds more, or make searches smaller."
        )
    others = [each.cpu_cores["others"] for each in steps if "others" in each.cpu_cores]
    if others and mean(others) > FOREIGN_SHARE * report.machine["processors"]:
        sentences.append(
            f"Other programs used {mean(others):.2g} of the {report.machine['processors']} processors: these are not "
            "the figures of a quiet machine."
        )
    if errors := sum(each.errors for each in steps):
        sentences.append(f"{errors} calls failed, other than by being refused.")
    apart = [each for each in steps if each.calls_by_clients not in (None, each.calls_by_servers)]
    if apart:
        sentences.append(
            f"In {len(apart)} of {len(steps)} steps the servers counted other calls than the clients made: somebody "
            "else calls this stack, or calls were tried again."
        )
    slow = [each for each in report.opened if _behind(each)]
    if slow:
        sentences.append(
            f"The clients began {slow[-1].begun_per_s:.3g} calls/s where {slow[-1].planned_per_s:.3g} were planned: "
            "more --processes, or another machine for them."
        )
    return sentences


def knee_of(steps: Sequence[StepFigures]) -> Knee | None:
    """Where more clients bring no more; None where nothing succeeded.

    Where searches are refused, the calls that succeed are others: a client that waits less often scores more.
    """
    steps = [each for each in steps if not each.refused_share] or steps
    best = max(steps, key=lambda each: each.calls_per_s, default=None)
    if best is None or best.calls_per_s <= 0:
        return None
    first = min(
        (each for each in steps if each.calls_per_s >= (1 - TOLERANCE) * best.calls_per_s),
        key=lambda each: each.clients,
    )
    return Knee(first.clients, first.calls_per_s, best.clients, best.calls_per_s)


def _overload(report: BenchReport) -> Overload | None:
    """Of the open loop with the highest rate, where that is beyond the best throughput."""
    best = max((each.calls_per_s for each in report.closed), default=0.0)
    beyond = [each for each in report.opened if each.planned_per_s and each.planned_per_s > best]
    if not beyond:
        return None
    step, unloaded = max(beyond, key=lambda each: each.planned_per_s or 0), report.closed[0]
    slowdowns = {}
    for kind in CLIENT_KINDS:
        now, before = step.of(kind), unloaded.of(kind)
        if now and before and now.p99_s and before.p99_s:
            slowdowns[kind] = now.p99_s / before.p99_s
    slowest = max(slowdowns, key=lambda kind: slowdowns[kind], default=None)
    refused = [each for each in step.kinds if each.refused_p50_s is not None and each.refused_p99_s is not None]
    begun = step.begun_per_s if step.begun_per_s is not None else step.planned_per_s or 0.0
    return Overload(
        times_best=begun / best,
        begun_per_s=begun,
        calls_per_s=step.calls_per_s,
        refused_share=step.refused_share,
        refused_p50_s=max(each.refused_p50_s or 0 for each in refused) if refused else None,
        refused_p99_s=max(each.refused_p99_s or 0 for each in refused) if refused else None,
        slowdown=slowdowns[slowest] if slowest else None,
        slowest_kind=slowest,
        unloaded_clients=unloaded.clients,
    )


def _behind(step: StepFigures) -> bool:
    """Whether the clients could not begin as many calls as were planned; chance takes three standard deviations."""
    if step.planned_per_s is None or step.begun_per_s is None:
        return False
    planned = step.planned_per_s * step.window_s
    return step.begun_per_s * step.window_s < planned - max(3 * math.sqrt(planned), 0.05 * planned)


def _clients(count: int) -> str:
    return f"{count} client{'' if count == 1 else 's'}"
