"""Sweeps of the tiny bundle, and what the tests ask of them."""

import asyncio
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import grpc.aio
import numpy as np
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf.duration_pb2 import Duration

from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.explainer.v1 import explainer_pb2_grpc
from earwitness.rpc.tensors import decode
from tests.integration.explainer.running import FC3_0, MODEL, PATIENCE_S

LEAST_1 = pb.Objective(layer="fc3", unit=1, sense=pb.SENSE_MINIMISE)
DIRECTION = pb.Objective(
    layer="fc2", direction=pb.Direction(units=[0, 3], weights=[1.0, -0.5]), sense=pb.SENSE_MAXIMISE
)
GRID = pb.SweepGrid(learning_rates=[0.1, 0.01], prior_weights=[0.1, 0.001], steps=[5, 20, 40])
SLOW = pb.SweepGrid(learning_rates=[0.05, 0.01], prior_weights=[0.01], steps=[20, 2000])


def sweep(*objectives: pb.Objective, grid: pb.SweepGrid | None = GRID, **changes: Any) -> pb.Sweep:
    """A sweep of the tiny bundle over a small grid; one objective and 6 seeds unless told."""
    chosen = [pb.SweepObjective(objective=each) for each in objectives or [FC3_0]]
    return pb.Sweep(**{"model": MODEL, "objectives": chosen, "grid": grid, "seed_count": 6, "first_seed": 3, **changes})


@dataclass(frozen=True)
class Sweeping:
    """The stubs of one server."""

    explainer: Any
    operations: Any

    @classmethod
    def of(cls, channel: grpc.aio.Channel) -> "Sweeping":
        return cls(explainer_pb2_grpc.ExplainerServiceStub(channel), operations_pb2_grpc.OperationsStub(channel))

    async def create(self, message: pb.Sweep, request_id: str | None = None) -> str:
        """The id of a new sweep."""
        request = pb.CreateSweepRequest(request_id=request_id or str(uuid4()), sweep=message)
        operation = await self.explainer.CreateSweep(request)
        return str(operation.name.removeprefix("operations/"))

    async def resume(self, sweep_id: str, request_id: str | None = None) -> str:
        """The id of the sweep that goes on from another."""
        request = pb.CreateSweepRequest(request_id=request_id or str(uuid4()), resume_from=f"sweeps/{sweep_id}")
        operation = await self.explainer.CreateSweep(request)
        return str(operation.name.removeprefix("operations/"))

    async def wait(self, sweep_id: str, timeout_s: float = PATIENCE_S) -> operations_pb2.Operation:
        """The operation when it is done."""
        timeout = Duration()
        timeout.FromNanoseconds(round(timeout_s * 1e9))
        request = operations_pb2.WaitOperationRequest(name=f"operations/{sweep_id}", timeout=timeout)
        return await self.operations.WaitOperation(request)

    async def get(self, sweep_id: str, view: int = pb.SWEEP_VIEW_TENSORS) -> pb.Sweep:
        request = pb.GetSweepRequest(name=f"sweeps/{sweep_id}", view=view)
        return (await self.explainer.GetSweep(request)).sweep

    async def metadata(self, sweep_id: str) -> pb.SweepMetadata:
        name = f"operations/{sweep_id}"
        return metadata(await self.operations.GetOperation(operations_pb2.GetOperationRequest(name=name)))

    async def cancel(self, sweep_id: str) -> None:
        await self.operations.CancelOperation(operations_pb2.CancelOperationRequest(name=f"operations/{sweep_id}"))

    async def delete(self, sweep_id: str) -> None:
        await self.operations.DeleteOperation(operations_pb2.DeleteOperationRequest(name=f"operations/{sweep_id}"))

    async def explanations(
        self, sweep_id: str, index: int, *artefacts: int, rows: list[int] | None = None
    ) -> list[Any]:
        request = pb.StreamSweepExplanationsRequest(
            name=f"sweeps/{sweep_id}", result_index=index, artefacts=artefacts, row_indices=rows
        )
        return [each.explanation async for each in self.explainer.StreamSweepExplanations(request)]

    async def until(self, sweep_id: str, steps: int) -> pb.SweepMetadata:
        """Progress, once so many row-steps are done."""
        request = pb.WatchSweepRequest(name=f"sweeps/{sweep_id}")
        async with asyncio.timeout(PATIENCE_S):
            async for event in self.explainer.WatchSweep(request):
                if event.progress.row_steps_done >= steps:
                    return event.progress
        raise AssertionError("the sweep ended before")


def metadata(operation: operations_pb2.Operation) -> pb.SweepMetadata:
    message = pb.SweepMetadata()
    assert operation.metadata.Unpack(message)
    return message


def array(tensor: Any) -> np.ndarray:
    return decode(tensor, "tensor")
