"""A few hundred fuzzed requests to every RPC of real services; `make fuzz` sends 10 000."""

from collections import Counter
from pathlib import Path

from tests.fuzz.draw import every_rpc
from tests.fuzz.run import fuzz, ordinary_faults
from tests.fuzz.stage import staged

SEED = 20
REQUESTS = 200
MEMORY_BYTES = 2**30
RPCS = every_rpc()


async def test_every_rpc_answers_whatever_it_is_asked(tmp_path: Path) -> None:
    """One test, as the services take longest to start."""
    async with staged(tmp_path) as stage:
        findings, codes = [], Counter[str]()
        for rpc in RPCS:
            await stage.prepare(rpc.method.name)
            report = await fuzz(rpc, stage, SEED, range(REQUESTS))
            assert not report.crash, report.findings
            assert report.count == REQUESTS
            # Both right and wrong ones were among them, or nothing was tested.
            assert report.codes["OK"] >= REQUESTS // 20, report
            assert report.codes.total() - report.codes["OK"] >= REQUESTS // 20, report
            findings += report.findings
            codes += report.codes
        findings += await ordinary_faults(RPCS[-1], stage)
        assert not findings, "\n\n".join(map(str, findings))
        assert {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "ABORTED", "FAILED_PRECONDITION"} <= codes.keys()
        assert max(stage.memory_bytes().values()) < MEMORY_BYTES
