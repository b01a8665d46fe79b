"""Which stack a benchmark loads: one of its own, or a running one."""

from pathlib import Path
from typing import TYPE_CHECKING

from earwitness.cli.connection import DEFAULT_EXPLAINER, DEFAULT_SCORER, Endpoints, address_of, data_folder
from earwitness.cli.stack import FREE_PORTS, Backend, StackSettings, check_repository
from earwitness.errors import InvalidArgument

if TYPE_CHECKING:
    from earwitness.bench.values import Target


def own_stack(repository: Path, data: Path, backend: Backend | None, model: str) -> StackSettings:
    """Raises: InvalidArgument for a model that the repository does not have; RepositoryError, StackError."""
    names = [each.name for each in check_repository(repository)]
    if model not in names:
        raise InvalidArgument("model", f"got {model!r}; {repository} has {', '.join(names)}")
    return StackSettings(repository, data, backend, ports=FREE_PORTS, inherit=False)


def running_stack(
    explainer: str | None,
    scorer: str | None,
    triton: str | None,
    data: Path | None,
    metrics: list[str],
    watched: bool,
) -> "Target":
    """A stack that runs elsewhere.

    Raises: InvalidArgument if neither options nor a Prometheus say where its metrics are.
    """
    known = Endpoints.read(data_folder(data))
    addresses = (
        explainer or address_of(data, lambda stack: stack.explainer, DEFAULT_EXPLAINER),
        scorer or address_of(data, lambda stack: stack.scorer, DEFAULT_SCORER),
    )
    if known is not None and addresses == (known.explainer, known.scorer) and triton in (None, known.triton):
        return target_of(known, f"The stack that runs with {data_folder(data)}", dict(map(_metrics, metrics)))
    from earwitness.bench.values import Target

    said = dict(map(_metrics, metrics))
    needed = {"explainer", "scorer", *(["triton"] if triton else [])}
    if not watched and (missing := sorted(needed - set(said))):
        raise InvalidArgument(
            "metrics", f"say where the {missing[0]} shows them: --metrics {missing[0]}=http://HOST:PORT/metrics"
        )
    return Target(*addresses, triton, said, {}, f"Explainer at {addresses[0]}, scorer at {addresses[1]}")


def target_of(endpoints: Endpoints, words: str, metrics: dict[str, str] | None = None) -> "Target":
    """A stack on this machine; `metrics` override its own."""
    from earwitness.bench.values import Target

    shown = {**endpoints.metrics, **(metrics or {})}
    return Target(endpoints.explainer, endpoints.scorer, endpoints.triton, shown, endpoints.process_ids, words)


def _metrics(text: str) -> tuple[str, str]:
    name, _, url = text.partition("=")
    if name not in ("explainer", "scorer", "triton") or not url.startswith("http://"):
        raise InvalidArgument(
            "metrics",
            f"got {text!r}; give explainer=, scorer= or triton= and a URL, e.g. http://127.0.0.1:9101/metrics",
        )
    return name, url
