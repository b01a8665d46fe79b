"""A program that calls an explainer, to be stopped or killed as a whole; `python -m tests.faults.clients`.

    clients.py ADDRESS CALLS ROWS STEPS

Opens CALLS streams at once, says "begun" after the first event of one, and reads them all to the end; then says, as
one line of JSON, how many events of progress and explanations came, and of how many steps the summaries tell.
"""

import asyncio
import json
import sys
from typing import Any

import grpc.aio

from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.explainer.v1 import explainer_pb2_grpc
from tests.faults.searches import search


async def main(address: str, calls: int, rows: int, steps: int) -> None:
    """See above."""
    request = pb.StreamExplainRequest(search=search(range(rows), steps), artefacts=[pb.ARTEFACT_TRAJECTORY])
    counts = {"progress": 0, "explanations": 0, "row_steps": 0}

    async def read(stub: Any) -> None:
        async for event in stub.StreamExplain(request):
            if not any(counts.values()):
                print("begun", flush=True)
            counts["progress"] += event.HasField("progress")
            counts["explanations"] += event.HasField("explanation")
            counts["row_steps"] += event.summary.row_step_count

    async with grpc.aio.insecure_channel(address) as channel:
        stub = explainer_pb2_grpc.ExplainerServiceStub(channel)
        await asyncio.gather(*(read(stub) for _ in range(calls)))
    print(json.dumps(counts))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))
