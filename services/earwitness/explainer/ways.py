"""The ways to search: which there are, their settings, and what of these each of them takes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import InvalidArgument
from earwitness.vocabulary.search import Optimiser, Settings, Target

MAX_LEARNING_RATE = 10.0
MAX_PRIOR_WEIGHT = 1000.0
MAX_START_DRAWS = 64
GOLDEN = (math.sqrt(5) - 1) / 2
"""Multiples of it are the most evenly spread fractions there are, however many are taken."""


def aim(target: Target, seed: int) -> float:
    """Where within the target's ends the row with that seed stops."""
    # In whole numbers: the product of a seed of 63 bits has no fraction left in floating point.
    fraction = (seed * round(GOLDEN * 2**64) % 2**64) / 2**64
    return target.low + (target.high - target.low) * fraction


def aimed_activation(target: Target, seed: int, real: NDArray[np.float32] | None = None) -> float:
    """The activation at which that row stops; `real` are those that a target in quantiles is of."""
    if not target.quantile:
        return aim(target, seed)
    assert real is not None  # a target in quantiles is refused without a reference
    return float(np.quantile(real, aim(target, seed)))


@dataclass(frozen=True)
class Resolved:
    """Settings with nothing left out: how one row is searched. What a way does not use is at the value that `check`
    takes for it.

    Source: METHOD A.4, A.5 (arXiv:1904.09533) for Adam and SGD, whose defaults are those that the paper's selection
    chose for "vocal". `weight_decay` replaces the prior: z is multiplied by (1 − weight_decay) after every step (Nguyen
    et al. 2016). `learning_rate` of a walk is the b of its proposals.
    """

    optimiser: Optimiser = "adam"
    learning_rate: float = 0.01
    prior_weight: float = 0.001
    steps: int = 100
    weight_decay: float = 0.0
    target: Target | None = None
    start_draws: int = 1
    draws: int = 0

    @property
    def needs_gradient(self) -> bool:
        """Whether there must be a search graph; else generator and classifier do."""
        return self.optimiser in ("adam", "sgd", "normalised")

    def aim(self, seed: int) -> float | None:
        """The activation at which the row with that seed stops; None without a target, or where it is a quantile."""
        return None if self.target is None or self.target.quantile else aim(self.target, seed)

    def said(self) -> Settings:
        """As it is told: what the way has no use for is left out."""
        if self.optimiser == "draws":
            return Settings(self.optimiser, draws=self.draws)
        used = {name: value for name, value in vars(self).items() if name != "draws"}
        return Settings(**{**used, "start_draws": None if self.start_draws == 1 else self.start_draws})

    def check(self, field: str, max_steps: int, max_draws: int) -> None:
        """Raises: InvalidArgument naming the part of `field` (the path of the settings) that is out of range."""
        if self.optimiser == "draws":
            self._check_draws(field, max_draws)
            return
        check_learning_rate(self.learning_rate, f"{field}.learning_rate", self.optimiser)
        check_prior_weight(self.prior_weight, f"{field}.prior_weight")
        check_steps(self.steps, f"{field}.steps", max_steps)
        if not 0 <= self.weight_decay < 1:
            _refuse(f"{field}.weight_decay", self.weight_decay, "0 to below 1")
        if self.weight_decay and self.prior_weight:
            raise InvalidArgument(
                f"{field}.weight_decay",
                f"got {self.weight_decay:g} beside a prior_weight of {self.prior_weight:g}; one of them must be 0",
            )
        if self.optimiser == "walk":
            self._refuse_given(field, {"prior_weight": 0.0, "weight_decay": 0.0}, "a walk keeps the prior by itself")
        if not 1 <= self.start_draws <= MAX_START_DRAWS:
            _refuse(f"{field}.start_draws", self.start_draws, f"1 to {MAX_START_DRAWS}")
        self._refuse_given(field, {"draws": 0}, "only OPTIMISER_DRAWS draws so; start_draws are a row's first latents")
        if self.target is not None:
            check_target(self.target, f"{field}.target")

    def _check_draws(self, field: str, max_draws: int) -> None:
        unused = {name: getattr(DRAWS, name) for name in vars(DRAWS) if name not in ("optimiser", "draws")}
        self._refuse_given(field, unused, "draws from the prior take no steps")
        if not 1 <= self.draws <= max_draws:
            _refuse(f"{field}.draws", self.draws, f"1 to {max_draws}")

    def _refuse_given(self, field: str, unused: Mapping[str, object], why: str) -> None:
        """Raises: InvalidArgument for a value that the way has no use for."""
        for name, value in unused.items():
            if (got := getattr(self, name)) != value:
                shown = f"{got:g}" if isinstance(got, int | float) else "a target"
                raise InvalidArgument(f"{field}.{name}", f"got {shown} for {self.optimiser}; leave it out: {why}")


def as_sent(settings: Resolved) -> Resolved:
    """The settings with all numbers such as float32 holds: what a message makes of them."""
    target = settings.target
    if target is not None:
        target = replace(target, low=_single(target.low), high=_single(target.high))
    return replace(
        settings,
        learning_rate=_single(settings.learning_rate),
        prior_weight=_single(settings.prior_weight),
        weight_decay=_single(settings.weight_decay),
        target=target,
    )


def _single(value: float) -> float:
    return float(np.float32(value))


DRAWS = Resolved("draws", learning_rate=0.0, prior_weight=0.0, steps=0, draws=4000)
"""Prior sampling: no latent moves."""
DEFAULTS: Mapping[Optimiser, Resolved] = {
    "adam": as_sent(Resolved()),
    "sgd": as_sent(Resolved("sgd")),
    "normalised": as_sent(Resolved("normalised", learning_rate=0.2, prior_weight=0.0)),
    "walk": as_sent(Resolved("walk", learning_rate=0.3, prior_weight=0.0, steps=200)),
    "draws": DRAWS,
}
"""What is used where nothing is given or recommended."""
TOWARDS_REFERENCE = replace(DEFAULTS["normalised"], target=Target(0.0, 1.0, quantile=True), start_draws=8)
"""What is used where no settings are given or recommended, and a reference says which activations are real."""


def resolve(given: Settings | None, recommended: Resolved | None = None, *, has_reference: bool = False) -> Resolved:
    """Settings with nothing left out: sent back, they give the same search.

    `recommended` are the model's for the objective; `has_reference` where there is one that quantiles can be of: then
    these are the target, not the activations of the reference that the recommendation came from.
    """
    if has_reference and recommended is not None and recommended.target is not None:
        recommended = replace(recommended, target=TOWARDS_REFERENCE.target)
    if given is None or given == Settings():
        return recommended or (TOWARDS_REFERENCE if has_reference else DEFAULTS["adam"])
    base = recommended
    if base is None or given.optimiser not in (None, base.optimiser):
        base = DEFAULTS[given.optimiser or "adam"]
    named = {name: value for name, value in vars(given).items() if value is not None}
    if "weight_decay" in named and "prior_weight" not in named:
        named["prior_weight"] = 0.0
    elif named.get("prior_weight") and "weight_decay" not in named:
        named["weight_decay"] = 0.0
    return as_sent(replace(base, **named))


def check_learning_rate(value: float, field: str, optimiser: Optimiser = "adam") -> None:
    """Raises: InvalidArgument unless it is a learning rate."""
    most = 1.0 if optimiser == "walk" else MAX_LEARNING_RATE
    if not 0 < value <= most:
        _refuse(field, value, f"greater than 0 and at most {most:g}")


def check_prior_weight(value: float, field: str) -> None:
    """Raises: InvalidArgument unless it is a prior weight."""
    if not 0 <= value <= MAX_PRIOR_WEIGHT:
        _refuse(field, value, f"0 to {MAX_PRIOR_WEIGHT:g}")


def check_steps(value: int, field: str, max_steps: int) -> None:
    """Raises: InvalidArgument unless it is a number of steps that this server does."""
    if not 1 <= value <= max_steps:
        _refuse(field, value, f"1 to {max_steps}")


def check_target(target: Target, field: str) -> None:
    """Raises: InvalidArgument unless it is a range of activations or quantiles."""
    field = f"{field}.{'quantile' if target.quantile else 'activation'}"
    for name, value in (("low", target.low), ("high", target.high)):
        if not math.isfinite(value) or (target.quantile and not 0 <= value <= 1):
            _refuse(f"{field}.{name}", value, "0 to 1" if target.quantile else "finite")
    if target.low > target.high:
        _refuse(f"{field}.low", target.low, f"at most high, {target.high:g}")


def _refuse(field: str, got: float, allowed: str) -> None:
    raise InvalidArgument(field, f"got {got:g}; it must be {allowed}")
