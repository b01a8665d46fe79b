"""What the explainer may refuse, and why.

EarwitnessError
├── NotFound
│   ├── ModelNotFound        no served bundle of that name
│   └── SweepNotFound        no sweep of that name
├── FailedPrecondition
│   ├── ZeroGradient         nothing to climb: the served gradient is exactly zero
│   ├── FrozenGradient       the gradient is the same for every latent, though the activation is not linear
│   ├── WrongGradient        the gradient disagrees with finite differences of the served activation
│   ├── NonFiniteModel       the model answers NaN or infinity to an ordinary latent
│   ├── UnknownFeatures      audio or pictures asked of a model whose features this version cannot read
│   ├── ModelChanged         the model is not the one that was swept
│   ├── ResultNotDone        a result of a sweep that has none yet
│   ├── SweepNotOver         a sweep that still runs or waits
│   ├── SweepNotResumable    a sweep that there is nothing to go on with
│   ├── NoScorer             a ranking asked of an explainer without a scorer
│   └── ReferenceUnusable    a reference that does not fit the objective, or that the scorer refuses
├── Aborted
│   └── LeaseLost            another process runs this sweep now
├── ResourceExhausted
│   ├── TooManySearches      every slot is taken and the queue is full
│   └── TooManySweeps        as many sweeps wait as may
├── Unavailable
│   ├── Draining             the server stops while somebody watches a sweep
│   └── ScorerUnavailable    the scorer gives no answer now
└── DeadlineExceeded
    └── NothingSearchedYet   the caller's deadline came before the first step was done
"""

from collections.abc import Sequence

from earwitness.errors import Aborted, DeadlineExceeded, FailedPrecondition, NotFound, ResourceExhausted, Unavailable


class ModelNotFound(NotFound):
    """No bundle of that name is served; the message lists those that are."""

    reason = "MODEL_NOT_FOUND"

    def __init__(self, name: str, known: Sequence[str]) -> None:
        there = f"served models: {', '.join(f'models/{other}' for other in known)}" if known else "no model is served"
        super().__init__("earwitness.explainer.v1.Model", f"models/{name}", there)


class SweepNotFound(NotFound):
    """No sweep has this id."""

    reason = "SWEEP_NOT_FOUND"

    def __init__(self, sweep_id: str) -> None:
        super().__init__("earwitness.explainer.v1.Sweep", f"sweeps/{sweep_id}", "ListOperations names those that do")


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


class ModelChanged(FailedPrecondition):
    """The model was exported again since the sweep began."""

    reason = "MODEL_CHANGED"

    def __init__(self, model: str, swept: str, served: str) -> None:
        super().__init__(
            f"models/{model} has weights {served[:12]} now, the sweep is of weights {swept[:12]}; start a new "
            "sweep, or serve the model as it was"
        )


class ResultNotDone(FailedPrecondition):
    """The result of a setting is not there."""

    reason = "RESULT_NOT_DONE"


class SweepNotOver(FailedPrecondition):
    """The sweep runs or waits."""

    reason = "SWEEP_NOT_OVER"

    def __init__(self, sweep_id: str, state: str) -> None:
        super().__init__(f"sweeps/{sweep_id} is {state}; wait for its end, or cancel operations/{sweep_id}")


class SweepNotResumable(FailedPrecondition):
    """The sweep neither failed nor was cancelled, or has no checkpoints."""

    reason = "SWEEP_NOT_RESUMABLE"


class NoScorer(FailedPrecondition):
    """A ranking is asked of an explainer that knows no scorer."""

    reason = "NO_SCORER"

    def __init__(self) -> None:
        super().__init__(
            "this explainer knows no scorer (setting scorer_address); rank in the client, or leave the reference out"
        )


class ReferenceUnusable(FailedPrecondition):
    """The reference does not fit the objective, or the scorer refuses it."""

    reason = "REFERENCE_UNUSABLE"


class LeaseLost(Aborted):
    """Another process runs this sweep now."""

    reason = "LEASE_LOST"

    def __init__(self) -> None:
        super().__init__("another process runs this sweep now")


class TooManySweeps(ResourceExhausted):
    """As many sweeps run or wait as may."""

    reason = "TOO_MANY_SWEEPS"

    def __init__(self, count: int) -> None:
        super().__init__(
            f"{count} sweeps run or wait, the most this server takes; cancel one, or try again when one is over",
            retry_after_s=60.0,
        )


class TooManySearches(ResourceExhausted):
    """Every slot for a search is taken and as many callers wait as may."""

    reason = "TOO_MANY_SEARCHES"


class Draining(Unavailable):
    """The server stops while somebody watches a sweep."""

    reason = "DRAINING"

    def __init__(self, sequence: int) -> None:
        super().__init__(f"the server stops, and the sweep continues on the next one: watch again, after {sequence}")


class ScorerUnavailable(Unavailable):
    """The scorer gives no answer now."""

    reason = "SCORER_UNAVAILABLE"


class NothingSearchedYet(DeadlineExceeded):
    """The caller's deadline came before the first step was done."""

    reason = "NOTHING_SEARCHED_YET"
