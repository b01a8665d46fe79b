"""What the dashboards show: panels, each with its queries and what to make of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

HERE = 'namespace=~"$namespace"'
OURS = f'{HERE}, job=~"earwitness-.+"'
CALLS = f'{OURS}, grpc_service!~"grpc\\\\.(health|reflection).+"'


@dataclass(frozen=True)
class Panel:
    """A graph over time: `queries` are PromQL and the legend of what they give; `unit` is one of Grafana's ids."""

    title: str
    description: str
    unit: str
    queries: Mapping[str, str]
    from_zero: bool = True


@dataclass(frozen=True)
class Board:
    """One dashboard."""

    uid: str
    title: str
    description: str
    rows: Mapping[str, Sequence[Panel]]


def rate(metric: str, selector: str = HERE, by: str = "") -> str:
    """Events per second, summed `by` labels."""
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{{{selector}}}[$__rate_interval]))"


def quantile(share: float, histogram: str, selector: str = HERE, by: str = "") -> str:
    """Of a histogram: what so large a share of the observations lies below."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({histogram}_bucket{{{selector}}}[$__rate_interval])))"


def quantiles(histogram: str, selector: str = HERE) -> dict[str, str]:
    """Its median and its tails, with their legends."""
    return {quantile(share, histogram, selector): f"p{share * 100:g}" for share in (0.5, 0.95, 0.99)}


SERVICES = Board(
    "earwitness-services",
    "earwitness: services",
    "Calls, failures and refusals of explainer and scorer, their databases and processes.",
    {
        "Calls": [
            Panel(
                "Calls",
                "Answered or not, without health and reflection.",
                "reqps",
                {rate("grpc_server_handled_total", CALLS, "job"): "{{job}}"},
            ),
            Panel(
                "Answers other than OK",
                "By status. INVALID_ARGUMENT and NOT_FOUND are the callers'.",
                "reqps",
                {
                    rate(
                        "grpc_server_handled_total", f'{CALLS}, grpc_code!="OK"', "job, grpc_code"
                    ): "{{job}} {{grpc_code}}"
                },
            ),
            Panel(
                "Refusals and failures by reason",
                "The reason given to the caller; TOO_MANY_* and CALLER_TOO_* are limits at work.",
                "reqps",
                {rate("earwitness_failed_calls_total", OURS, "job, reason"): "{{job}} {{reason}}"},
            ),
            Panel(
                "Time of a call, p95",
                "By method; a search takes what its steps take.",
                "s",
                {quantile(0.95, "grpc_server_handling_seconds", CALLS, "grpc_method"): "{{grpc_method}}"},
            ),
            Panel(
                "Calls in flight",
                "Begun and not over.",
                "short",
                {
                    f"sum by (job) (grpc_server_started_total{{{CALLS}}}) - sum by (job) "
                    f"(grpc_server_handled_total{{{CALLS}}})": "{{job}}"
                },
            ),
            Panel(
                "Targets up",
                "1 for each process that gives metrics.",
                "short",
                {f"sum by (job) (up{{{OURS}}})": "{{job}}"},
            ),
        ],
        "Databases": [
            Panel(
                "Transactions",
                "Reads and writes of the services' databases.",
                "ops",
                {rate("earwitness_store_seconds_count", OURS, "job, access"): "{{job}} {{access}}"},
            ),
            Panel(
                "Time of a transaction, p95",
                "The wait for a lock included.",
                "s",
                {quantile(0.95, "earwitness_store_seconds", OURS, "job, access"): "{{job}} {{access}}"},
            ),
            Panel(
                "Transactions that failed",
                "The database was away, locked for too long or broken.",
                "ops",
                {rate("earwitness_store_failures_total", OURS, "job, access"): "{{job}} {{access}}"},
            ),
        ],
        "Processes": [
            Panel("Memory", "Resident.", "bytes", {f"process_resident_memory_bytes{{{OURS}}}": "{{job}} {{instance}}"}),
            Panel(
                "Processor",
                "Cores in use.",
                "short",
                {f"rate(process_cpu_seconds_total{{{OURS}}}[$__rate_interval])": "{{job}} {{instance}}"},
            ),
            Panel(
                "Versions",
                "Processes by version.",
                "short",
                {f"sum by (job, version) (earwitness_build_info{{{OURS}}})": "{{job}} {{version}}"},
            ),
        ],
    },
)

SEARCHES = Board(
    "earwitness-searches",
    "earwitness: searches",
    "What the explainer searches, how fast, what waits, and what Triton makes of it.",
    {
        "Searches": [
            Panel(
                "Row-steps",
                "Rows times steps a second: the work that is done.",
                "ops",
                {rate("explainer_row_steps_total", HERE, "model"): "{{model}}"},
            ),
            Panel(
                "Time of a step",
                "Of a whole batch: one call of the search graph and an update.",
                "s",
                quantiles("explainer_step_seconds"),
            ),
            Panel(
                "Rows and searches in flight",
                "Rows over searches is the size of a batch.",
                "short",
                {
                    f"sum(explainer_rows_in_flight{{{HERE}}})": "rows",
                    f"sum(explainer_searches_in_flight{{{HERE}}})": "searches",
                },
            ),
            Panel(
                "Waiting",
                "Searches without a slot, and sweeps that run or wait.",
                "short",
                {
                    f"sum(explainer_queue_depth{{{HERE}}})": "searches",
                    f"max(explainer_unfinished_sweeps{{{HERE}}})": "sweeps",
                },
            ),
            Panel(
                "Sweeps over",
                "By how they ended, in the last hour.",
                "short",
                {f"sum by (state) (increase(explainer_sweeps_total{{{HERE}}}[1h]))": "{{state}}"},
            ),
            Panel(
                "Gradients that were zero",
                "Row-steps that only the prior moved; many mean a dead unit.",
                "ops",
                {rate("explainer_gradient_zero_total", HERE, "model"): "{{model}}"},
            ),
            Panel(
                "Best activation of an explanation, median",
                "By sense; a jump without a new model deserves a look.",
                "short",
                {quantile(0.5, "explainer_best_activation", HERE, "model, sense"): "{{model}} {{sense}}"},
                from_zero=False,
            ),
        ],
        "Inference, as the explainer sees it": [
            Panel(
                "Time of a call, p95",
                "By role: search graph, generator, classifier.",
                "s",
                {quantile(0.95, "explainer_inference_seconds", HERE, "role"): "{{role}}"},
            ),
            Panel(
                "Calls",
                "To served models.",
                "reqps",
                {rate("explainer_inference_seconds_count", HERE, "model, role"): "{{model}} {{role}}"},
            ),
            Panel(
                "Calls that failed",
                "By reason; empty is good.",
                "reqps",
                {rate("explainer_inference_failures_total", HERE, "model, reason"): "{{model}} {{reason}}"},
            ),
        ],
        "Triton": [
            Panel("Requests", "By model.", "reqps", {rate("nv_inference_request_success", HERE, "model"): "{{model}}"}),
            Panel(
                "Requests that failed",
                "By model and reason.",
                "reqps",
                {rate("nv_inference_request_failure", HERE, "model, reason"): "{{model}} {{reason}}"},
            ),
            Panel(
                "Time of a request",
                "In the queue and computing, on average.",
                "µs",
                {
                    f"{rate(f'nv_inference_{part}_duration_us')} / ({rate('nv_inference_request_success')} > 0)": words
                    for part, words in {"queue": "queue", "compute_infer": "computing"}.items()
                },
            ),
        ],
    },
)

SCORES = Board(
    "earwitness-scores",
    "earwitness: scores",
    "Distances between explanations and real audio, and the references they are measured against.",
    {
        "Scores": [
            Panel(
                "Fréchet distances",
                "Of scores and ranked settings: the lower, the nearer to real audio.",
                "short",
                quantiles("scorer_distance"),
            ),
            Panel(
                "Scores and rankings",
                "A second; nearness is how far rows are from real ones.",
                "reqps",
                {
                    rate("scorer_score_seconds_count"): "scores",
                    rate("scorer_rank_seconds_count"): "rankings",
                    rate("scorer_nearness_seconds_count"): "nearness",
                },
            ),
            Panel(
                "Time of a score or ranking, p95",
                "The uncertainty included.",
                "s",
                {
                    quantile(0.95, "scorer_score_seconds"): "score",
                    quantile(0.95, "scorer_rank_seconds"): "ranking",
                    quantile(0.95, "scorer_nearness_seconds"): "nearness",
                },
            ),
        ],
        "References": [
            Panel("References", "In the store.", "short", {f"max(scorer_references{{{HERE}}})": "references"}),
            Panel(
                "Shards",
                "Appended, and merged as statistics, by whether they were new.",
                "ops",
                {
                    rate("scorer_appends_total", HERE, "result"): "{{result}}",
                    rate("scorer_merges_total", HERE, "result"): "statistics {{result}}",
                },
            ),
            Panel("Rows", "Of activations counted.", "ops", {rate("scorer_rows_total"): "rows"}),
            Panel(
                "Time of a freeze",
                "Which merges what was appended into a version.",
                "s",
                quantiles("scorer_freeze_seconds"),
            ),
        ],
    },
)

DASHBOARDS = (SERVICES, SEARCHES, SCORES)
