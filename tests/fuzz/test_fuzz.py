"""A few hundred fuzzed requests to every RPC of real services; `make fuzz` sends 10 000."""

from collections import Counter
from pathlib import Path

from tests.fuzz.draw import every_rpc
from tests.fuzz.run import fuzz, ordinary_faults
from tests.fuzz.stage import staged

SEED = 20
REQUESTS = 200
LEAST = REQUESTS // 20
MEMORY_BYTES = 2**30


async def test_every_rpc_answers_whatever_it_is_asked(tmp_path: Path) -> None:
    """One test, as the services' start takes long."""
    rpcs = every_rpc()
    findings, codes = [], Counter[str]()
    async with staged(tmp_path) as stage:
        for rpc in rpcs:
            await stage.prepare(rpc.method.name)
            report = await fuzz(rpc, stage, SEED, range(REQUESTS))
            assert not report.crash, report.findings
            findings += report.findings
            codes += report.codes
            # Right and wrong ones were among them, or nothing was tested.
            assert report.count == REQUESTS
            assert LEAST <= report.codes["OK"] <= REQUESTS - LEAST, report
        findings += await ordinary_faults(rpcs[-1], stage)
        assert not findings, "\n\n".join(map(str, findings))
        assert codes.keys() >= {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "ABORTED", "FAILED_PRECONDITION"}
        assert max(stage.memory_bytes().values()) < MEMORY_BYTES
