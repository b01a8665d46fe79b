"""What the explainer may refuse, and why.

EarwitnessError
├── NotFound
│   └── ModelNotFound        no served bundle of that name
├── FailedPrecondition
│   ├── ZeroGradient         nothing to climb: the served gradient is exactly zero
│   ├── FrozenGradient       the gradient is the same for every latent, though the activation is not linear
│   ├── WrongGradient        the gradient disagrees with finite differences of the served activation
│   ├── NonFiniteModel       the model answers NaN or infinity to an ordinary latent
│   └── UnknownFeatures      audio or pictures asked of a model whose features this version cannot read
├── ResourceExhausted
│   └── TooManySearches      every slot is taken and the queue is full
└── DeadlineExceeded
    └── NothingSearchedYet   the caller's deadline came before the first step was done
"""

from collections.abc import Sequence

from earwitness.errors import DeadlineExceeded, FailedPrecondition, NotFound, ResourceExhausted


class ModelNotFound(NotFound):
    """No bundle of that name is served; the message lists those that are."""

    reason = "MODEL_NOT_FOUND"

    def __init__(self, name: str, known: Sequence[str]) -> None:
        there = f"served models: {', '.join(f'models/{other}' for other in known)}" if known else "no model is served"
        super().__init__("earwitness.explainer.v1.Model", f"models/{name}", there)


class ZeroGradient(FailedPrecondition):
    """The gradient of the objective with respect to the latent is exactly zero."""

    reason = "ZERO_GRADIENT"


class FrozenGradient(FailedPrecondition):
    """The served gradient does not depend on the latent although it should."""

    reason = "FROZEN_GRADIENT"


class WrongGradient(FailedPrecondition):
    """The served gradient is not the gradient of the served activation."""

    reason = "WRONG_GRADIENT"


class NonFiniteModel(FailedPrecondition):
    """The model answers NaN or infinity to an ordinary latent."""

    reason = "NON_FINITE_MODEL"


class UnknownFeatures(FailedPrecondition):
    """The model's feature profile cannot be rebuilt, so its spectrograms have neither axes nor sound."""

    reason = "UNKNOWN_FEATURES"


class TooManySearches(ResourceExhausted):
    """Every slot for a search is taken and as many callers wait as may."""

    reason = "TOO_MANY_SEARCHES"


class NothingSearchedYet(DeadlineExceeded):
    """The caller's deadline came before the first step was done."""

    reason = "NOTHING_SEARCHED_YET"
