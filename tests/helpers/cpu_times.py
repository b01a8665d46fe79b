"""What tests cost: processor seconds of this process and of those that it started and ended, by test and by file.

A plugin of pytest; seconds by the clock say little where tests run side by side, or beside other work.
"""

import os
from collections import Counter
from collections.abc import Iterator

import pytest

SHOWN = 10


def _spent_s() -> float:
    return sum(os.times()[:4])


class CpuTimes:
    """Adds `cpu_s` to every report, which workers send on, and shows the costliest at the end."""

    def __init__(self) -> None:
        self._seen_s = _spent_s()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Iterator[None]:
        report: pytest.TestReport = yield
        now_s = _spent_s()
        report.cpu_s, self._seen_s = now_s - self._seen_s, now_s
        return report

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        tests: Counter[str] = Counter()
        files: Counter[str] = Counter()
        for reports in terminalreporter.stats.values():
            for report in reports:
                spent_s = getattr(report, "cpu_s", 0.0)
                tests[getattr(report, "nodeid", "")] += spent_s
                files[getattr(report, "nodeid", "").partition("::")[0]] += spent_s
        for title, spent in (("tests", tests), ("files", files)):
            terminalreporter.section(f"costliest {title}, processor seconds of {spent.total():.0f}")
            for name, seconds in spent.most_common(SHOWN):
                terminalreporter.write_line(f"{seconds:7.1f} {name}")
