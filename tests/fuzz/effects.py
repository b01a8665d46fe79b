"""What the servers keep against what they answered: everything acknowledged is there, and nothing else."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from google.longrunning import operations_pb2

from earwitness.scorer.v1 import scorer_pb2
from tests.fuzz.answers import Answer
from tests.fuzz.draw import Request, Rpc
from tests.fuzz.stage import Stage


@dataclass
class Effects:
    """The references and sweeps that there must be once the calls noted so far are over.

    The calls are of one RPC, so their order does not matter: what one adds or takes away no other one undoes.
    """

    rpc: Rpc
    stage: Stage
    references: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    """Counts of rows, shards and versions by name."""
    versions: set[str] = field(default_factory=set)
    sweeps: set[str] = field(default_factory=set)

    @classmethod
    async def watch(cls, rpc: Rpc, stage: Stage) -> "Effects":
        """What is there before the first call."""
        return cls(rpc, stage, dict(await stage.references_now()), sweeps=await stage.sweeps_now())

    def note(self, request: Request, answer: Answer) -> None:
        """A call was answered with OK."""
        match self.rpc.method.name:
            case "CreateReference":
                made = scorer_pb2.CreateReferenceResponse.FromString(answer.responses[0]).reference
                self.references.setdefault(made.name, (0, 0, 0))
            case "AppendActivations" | "MergeStatistics":
                appending = self.rpc.method.name == "AppendActivations"
                sent = scorer_pb2.AppendActivationsRequest if appending else scorer_pb2.MergeStatisticsRequest
                header = sent.FromString(request.messages[0]).header
                # The answers have the same fields.
                if not scorer_pb2.AppendActivationsResponse.FromString(answer.responses[0]).duplicate:
                    rows, shards, versions = self.references[header.reference]
                    self.references[header.reference] = (rows + header.row_count, shards + 1, versions)
            case "FreezeReference":
                self.versions.add(scorer_pb2.FreezeReferenceResponse.FromString(answer.responses[0]).version.name)
            case "DeleteReference":
                name = scorer_pb2.DeleteReferenceRequest.FromString(request.messages[0]).name
                del self.references[name]
            case "CreateSweep":
                self.sweeps.add(_sweep_id(operations_pb2.Operation.FromString(answer.responses[0]).name))
            case "DeleteOperation":
                name = operations_pb2.DeleteOperationRequest.FromString(request.messages[0]).name
                self.sweeps.remove(_sweep_id(name))

    async def faults(self) -> AsyncIterator[str]:
        """What is kept and should not be, or is not and should."""
        for version in self.versions:
            name, _, number = version.partition("/versions/")
            rows, shards, versions = self.references[name]
            self.references[name] = (rows, shards, max(versions, int(number)))
        found = await self.stage.references_now()
        if found != self.references:
            odd = {name for name in found | self.references if found.get(name) != self.references.get(name)}
            told = {name: (self.references.get(name), found.get(name)) for name in sorted(odd)[:5]}
            yield f"{len(odd)} references are not as acknowledged (expected, found): {told}"
        await self.stage.settle()
        sweeps = await self.stage.sweeps_now()
        if sweeps != self.sweeps:
            yield f"sweeps acknowledged and not there: {self.sweeps - sweeps}; there unasked: {sweeps - self.sweeps}"
        for progress in await self.stage.sweeping.list():
            if progress.state == "failed":
                yield f"sweeps/{progress.sweep_id} failed: {progress.error}"
            elif progress.state == "succeeded" and progress.results_done != progress.result_count:
                yield f"sweeps/{progress.sweep_id} succeeded without all of its results"
        for name in self.sweeps - set(self.stage.sweeps):
            await self.stage.sweeping.delete(name)  # or the next RPC would find thousands
        for name in self.references:
            if name.startswith("references/f"):
                await self.stage.scorer.delete_reference(name)


def _sweep_id(operation: str) -> str:
    return operation.removeprefix("operations/")
