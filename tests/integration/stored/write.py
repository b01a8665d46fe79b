"""Writes what later versions must be able to read: databases, a reference file, and the answers that they gave.

    python -m tests.integration.stored.write

The files beside this were written so by version 0.1.0, commit c2dcfc4. Written again they prove nothing of the past:
when the format of what is stored changes, add new ones beside them and keep these.
"""

import asyncio
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from google.longrunning import operations_pb2

from earwitness.client.reference_file import write_reference
from earwitness.client.scorer import ScorerClient
from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.scorer.v1 import scorer_pb2
from tests.helpers.tiny_bundle import write_tiny_bundle
from tests.integration.explainer.references import build, selected
from tests.integration.explainer.running import FC3_0, running
from tests.integration.explainer.sweeping import DIRECTION, LEAST_1, SLOW, Sweeping, sweep
from tests.integration.scorer import running as scorers

FOLDER = Path(__file__).parent
SETTINGS = pb.SettingsList(
    settings=[
        pb.Settings(),
        pb.Settings(optimiser=pb.OPTIMISER_SGD, learning_rate=0.05, weight_decay=0.01, steps=8),
        pb.Settings(
            optimiser=pb.OPTIMISER_NORMALISED, steps=6, target=pb.Target(quantile=pb.Range(low=0.2, high=0.8)),
            start_draws=2,
        ),
        pb.Settings(
            optimiser=pb.OPTIMISER_WALK, steps=9, target=pb.Target(activation=pb.Range(low=0.1, high=0.4))
        ),
        pb.Settings(optimiser=pb.OPTIMISER_DRAWS, draws=50),
    ]
)  # fmt: skip
GRID = pb.SweepGrid(learning_rates=[0.1, 0.01], prior_weights=[0.001], steps=[5, 12])
NEARNESS = scorer_pb2.Criterion(
    layer_nearness=scorer_pb2.Criterion.LayerNearness(layers=["fc3"], neighbour_count=3), outside_range_allowed=True
)
HIGHEST = pb.SweepObjective(objective=FC3_0, reference="references/highest")
EVERYTHING = pb.SweepObjective(objective=LEAST_1, reference="references/all/versions/1", whole_layer=True)
ALONE = pb.SweepObjective(objective=DIRECTION)
SWEEPS = (
    sweep(objectives=[HIGHEST, EVERYTHING, ALONE], grid=GRID, seed_count=4),
    sweep(objectives=[HIGHEST], grid=None, settings_list=SETTINGS, seed_count=4),
    sweep(objectives=[HIGHEST], grid=GRID, seed_count=5, keep_count=3, criterion=NEARNESS),
    sweep(ALONE.objective, grid=SLOW, seed_count=4),
    sweep(FC3_0, grid=GRID, seed_count=3),
)
"""Three that succeed, one that is cancelled, and one that fails."""


async def write(folder: Path) -> None:
    """Databases of two services, a reference file, and answers."""
    tiny = write_tiny_bundle(folder / "models")
    ours, theirs = folder / "explainer", folder / "scorer"
    async with (
        scorers.running(theirs) as scorer,
        running(tiny, scorer_address=f"127.0.0.1:{scorer.port}", data_dir=ours, sweep_rows=8) as explainer,
    ):
        await build(scorer, tiny, "highest", layers=("fc2", "fc3"), selection=selected("top", 0, 20))
        await build(scorer, tiny, "all", selection=scorer_pb2.Selection(all=scorer_pb2.Selection.All()))
        sweeping = Sweeping.of(explainer.channel)
        made = []
        for index, each in enumerate(SWEEPS):
            explainer.backend.failing = 100 if index == len(SWEEPS) - 1 else 0
            explainer.backend.step_s = 0.01 if each.grid == SLOW else 0.0
            made.append(await sweeping.create(each))
            if each.grid == SLOW:
                await sweeping.until(made[-1], 300)
                await sweeping.cancel(made[-1])
            await sweeping.wait(made[-1])
        for sweep_id in made:
            name = f"operations/{sweep_id}"
            operation = await sweeping.operations.GetOperation(operations_pb2.GetOperationRequest(name=name))
            found = await sweeping.get(sweep_id)
            number = made.index(sweep_id)
            (FOLDER / f"operation-{number}.binpb").write_bytes(operation.SerializeToString(deterministic=True))
            (FOLDER / f"sweep-{number}.binpb").write_bytes(found.SerializeToString(deterministic=True))
        async with ScorerClient(f"127.0.0.1:{scorer.port}") as client:
            write_reference(await client.read_statistics("highest/versions/1"), FOLDER / "highest.npz", force=True)
        for name in ("highest", "all"):
            request = scorer_pb2.GetReferenceRequest(name=f"references/{name}")
            reference = (await scorer.stub.GetReference(request)).reference
            (FOLDER / f"reference-{name}.binpb").write_bytes(reference.SerializeToString(deterministic=True))
    for service in (ours, theirs):
        with closing(sqlite3.connect(service / f"{service.name}.db")) as database:
            (FOLDER / f"{service.name}.sql").write_text("\n".join(database.iterdump()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made_in:
        asyncio.run(write(Path(made_in)))
