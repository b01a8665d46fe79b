"""Why a benchmark cannot be run, or stopped."""

from earwitness.errors import FailedPrecondition


class BenchError(FailedPrecondition):
    """Prometheus or a process that makes the load is missing, does not start, ended, or says what cannot be."""

    reason = "BENCH_FAILED"
