"""A right request for every RPC, drawn at random: what is changed until it is wrong."""

import hashlib
from collections.abc import Callable, Mapping
from random import Random
from uuid import UUID

import numpy as np
from google.longrunning import operations_pb2 as lro
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from earwitness.client.partials import Partial
from earwitness.client.scorer_messages import partial_form
from earwitness.explainer.v1 import explainer_pb2 as explainer
from earwitness.rpc.tensors import encode
from earwitness.scorer.v1 import scorer_pb2 as scorer
from earwitness.types.v1.tensor_pb2 import Tensor
from tests.fuzz.mutation import bend_bytes
from tests.fuzz.stage import SELECTIONS, SERVICES, Stage
from tests.helpers.tiny_bundle import CHANNELS, DENSE, OUTPUTS

LAYERS = {"conv1": CHANNELS, "fc2": DENSE, "fc3": OUTPUTS}
Baseline = Callable[[Random, Stage], list[Message]]
"""Draws the messages of one right request: one, but for a stream of the caller's."""


def uuid4(random: Random) -> str:
    return str(UUID(bytes=random.randbytes(16), version=4))


def rows(random: Random, count: int, unit_count: int) -> np.ndarray:
    """Activations as they come, or at the ends of what float32 holds."""
    generator = np.random.default_rng(random.getrandbits(32))
    scale = random.choice((1.0,) * 8 + (0.0, 1e-42, 1e-20, 1e20, 1e38))
    drawn = scale * generator.standard_normal((count, unit_count))
    return drawn.clip(-3.4e38, 3.4e38).astype(np.float32)


def tensor(random: Random, unit_count: int, count: int | None = None) -> Tensor:
    values = rows(random, random.choice((2, 3, 8, 40)) if count is None else count, unit_count)
    return encode(values if random.random() < 0.7 else values.astype(np.float64))


def objective(random: Random) -> explainer.Objective:
    layer, unit_count = random.choice(list(LAYERS.items()))
    aim = explainer.Objective(layer=layer, sense=random.choice((1, 2)))
    if random.random() < 0.7:
        aim.unit = random.randrange(unit_count)
    else:
        units = random.sample(range(unit_count), random.randint(1, unit_count))
        aim.direction.units.extend(units)
        aim.direction.weights.extend(random.uniform(-2, 2) for _ in units)
    return aim


def settings(random: Random) -> explainer.Settings:
    chosen = explainer.Settings(steps=random.randint(1, 6), optimiser=random.choice((0, 1, 2)))
    if random.random() < 0.7:
        chosen.learning_rate = 10 ** random.uniform(-4, 1)
    if random.random() < 0.5:
        chosen.prior_weight = 10 ** random.uniform(-4, 3)
    elif random.random() < 0.5:
        chosen.weight_decay = random.uniform(0, 0.99)
    return chosen


def search(random: Random, stage: Stage) -> explainer.Search:
    made = explainer.Search(model=stage.model, objective=objective(random), settings=settings(random))
    for _ in range(random.choice((1, 1, 2, 4))):
        row = made.rows.add(seed=random.choice((0, 1, random.getrandbits(62))))
        if random.random() < 0.2:
            row.objective.CopyFrom(objective(random))
        if random.random() < 0.2:
            row.settings.CopyFrom(settings(random))
    return made


def artefacts(random: Random) -> list[int]:
    """Seldom: a picture takes as long as a hundred searches of the tiny model."""
    return random.choice(([1], [2], [3], [1, 2, 3])) if random.random() < 0.01 else []


def sweep(random: Random, stage: Stage) -> explainer.Sweep:
    aims = [explainer.SweepObjective(objective=objective(random)) for _ in range(random.choice((1, 1, 2)))]
    made = explainer.Sweep(
        model=stage.model, objectives=aims, seed_count=random.randint(1, 3), first_seed=random.getrandbits(8)
    )
    if random.random() < 0.2:
        aims[0].objective.CopyFrom(explainer.Objective(layer="fc3", unit=0, sense=1))
        aims[0].reference = stage.reference("whole")
        made.objectives[0].CopyFrom(aims[0])
        made.seed_count += 1
    if random.random() < 0.6:
        made.grid.learning_rates.extend(random.sample((0.01, 0.1, 1.0), random.choice((1, 2))))
        made.grid.prior_weights.extend(random.sample((0.0, 0.001, 0.1), random.choice((1, 2))))
        made.grid.steps.extend(random.sample((1, 2, 5), random.choice((1, 2))))
    else:
        made.settings_list.settings.extend(settings(random) for _ in range(random.choice((1, 2))))
    return made


def selection(random: Random, unit_count: int) -> scorer.Selection:
    kind = random.choice(("all", "top", "bottom"))
    if kind == "all":
        return scorer.Selection(all=scorer.Selection.All())
    return scorer.Selection(
        **{kind: scorer.Selection.Extreme(unit=random.randrange(unit_count), k=random.randint(2, 20))}
    )


def creation(random: Random, stage: Stage) -> scorer.CreateReferenceRequest:
    layer, unit_count = random.choice(list(LAYERS.items()))
    kept = random.sample(list(LAYERS), len(LAYERS)) if random.random() < 0.3 else []
    return scorer.CreateReferenceRequest(
        request_id=uuid4(random),
        reference_id=f"f{random.getrandbits(48):x}",
        reference=scorer.Reference(
            model=stage.model, weights_sha256=stage.weights_sha256, layer=layer, unit_count=unit_count,
            feature_profile="log-mel-8-test@1", selection=selection(random, unit_count), description="fuzzed",
            kept_layers=[scorer.KeptLayer(name=name, unit_count=LAYERS[name]) for name in kept],
        ),
    )  # fmt: skip


def shard(random: Random, stage: Stage) -> list[Message]:
    data = rows(random, random.choice((1, 2, 9, 100)), OUTPUTS).astype("<f4").tobytes()
    if random.random() < 0.1:
        data = data[:4] + np.float32(random.choice((np.nan, np.inf))).tobytes() + data[8:]
    header = scorer.ShardHeader(
        reference=stage.reference(random.choice(("whole", "top", "open"))),
        shard_id=f"shard {random.getrandbits(48):x}",
        row_count=len(data) // (4 * OUTPUTS),
        sha256=hashlib.sha256(data).hexdigest(),
    )
    size = random.choice((len(data), 1 + len(data) // 3, 7))
    chunks = [scorer.AppendActivationsRequest(chunk=data[at : at + size]) for at in range(0, len(data), size)]
    return [scorer.AppendActivationsRequest(header=header), *chunks]


def partial(random: Random, stage: Stage) -> list[Message]:
    name = random.choice(("whole", "top", "open"))
    values = rows(random, random.choice((1, 2, 9, 100)), OUTPUTS)
    made = Partial.of(values, SELECTIONS[name])
    data = made.to_bytes()
    header = scorer.PartialHeader(
        reference=stage.reference(name),
        shard_id=f"partial {random.getrandbits(48):x}",
        row_count=made.row_count,
        form=partial_form(made),
    )
    if random.random() < 0.2:
        data = bend_bytes(data, random)
    header.sha256 = hashlib.sha256(data).hexdigest()
    size = random.choice((len(data), 1 + len(data) // 3, 7))
    chunks = [scorer.MergeStatisticsRequest(chunk=data[at : at + size]) for at in range(0, len(data), size or 1)]
    return [scorer.MergeStatisticsRequest(header=header), *chunks]


def scoring(random: Random, stage: Stage) -> scorer.ScoreRequest:
    made = scorer.ScoreRequest(
        reference=stage.reference(random.choice(("whole", "top", "whole/versions/1", "open"))),
        model=stage.model, weights_sha256=stage.weights_sha256, layer="fc3",
        activations=tensor(random, OUTPUTS), seed=random.getrandbits(8),
    )  # fmt: skip
    if random.random() < 0.5:
        made.unit = random.randrange(OUTPUTS)
    return made


def ranking(random: Random, stage: Stage) -> scorer.RankRequest:
    row_count = random.choice((2, 5, 20))
    batches = [
        scorer.Batch(id=f"b{index}", activations=tensor(random, OUTPUTS, row_count))
        for index in range(random.choice((1, 2, 4)))
    ]
    made = scorer.RankRequest(
        reference=stage.reference(random.choice(("whole", "top"))),
        model=stage.model, weights_sha256=stage.weights_sha256, layer="fc3",
        batches=batches, seed=random.getrandbits(8),
    )  # fmt: skip
    if random.random() < 0.7:
        made.unit = random.randrange(OUTPUTS)
    if random.random() < 0.5:
        kind = random.choice((scorer.Criterion.LayerDistance, scorer.Criterion.LayerNearness, None))
        made.criterion.outside_range_allowed = random.random() < 0.5
        if kind is scorer.Criterion.LayerDistance:
            made.criterion.layer_distance.layers.append("fc3")
        elif kind is scorer.Criterion.LayerNearness:
            made.criterion.layer_nearness.neighbour_count = random.choice((0, 1))
    return made


def nearness(random: Random, stage: Stage) -> scorer.MeasureNearnessRequest:
    return scorer.MeasureNearnessRequest(
        reference=stage.reference(random.choice(("top", "whole"))),
        model=stage.model, weights_sha256=stage.weights_sha256, layers=random.choice(([], ["fc3"])),
        activations=tensor(random, OUTPUTS), neighbour_count=random.choice((0, 1, 2)),
    )  # fmt: skip


def stored_sweep_explanations(random: Random, stage: Stage) -> explainer.StreamSweepExplanationsRequest:
    return explainer.StreamSweepExplanationsRequest(
        name=f"sweeps/{random.choice(stage.sweeps)}", result_index=random.randrange(2), artefacts=artefacts(random),
        row_indices=random.choice(([], [0], [1, 0])),
    )  # fmt: skip


def waiting(random: Random, stage: Stage) -> lro.WaitOperationRequest:
    made = lro.WaitOperationRequest(name=f"operations/{random.choice(stage.sweeps)}")
    if random.random() < 0.8:
        made.timeout.FromMilliseconds(random.choice((0, 1, 100, 10_000)))
    return made


EXPLAINER: Mapping[str, Baseline] = {
    "ListModels": lambda random, stage: [
        explainer.ListModelsRequest(page_size=random.choice((0, 1, 50)), page_token=stage.token(random, "models"))
    ],
    "GetModel": lambda random, stage: [explainer.GetModelRequest(name=stage.model)],
    "Explain": lambda random, stage: [
        explainer.ExplainRequest(search=search(random, stage), artefacts=artefacts(random))
    ],
    "StreamExplain": lambda random, stage: [
        explainer.StreamExplainRequest(search=search(random, stage), artefacts=artefacts(random))
    ],
    "CreateSweep": lambda random, stage: [
        explainer.CreateSweepRequest(request_id=uuid4(random), sweep=sweep(random, stage))
    ],
    "GetSweep": lambda random, stage: [
        explainer.GetSweepRequest(
            name=f"sweeps/{random.choice(stage.sweeps)}",
            view=random.randrange(4),
            result_indices=random.choice(([], [0], [0, 1])),
        )
    ],
    "WatchSweep": lambda random, stage: [
        explainer.WatchSweepRequest(name=f"sweeps/{random.choice(stage.sweeps)}", after=random.choice((0, 1)))
    ],
    "StreamSweepExplanations": lambda random, stage: [stored_sweep_explanations(random, stage)],
    "RankSweep": lambda random, stage: [
        explainer.RankSweepRequest(
            name=f"sweeps/{random.choice(stage.sweeps)}", references=random.choice(([], [stage.reference("whole")]))
        )
    ],
}
OPERATIONS: Mapping[str, Baseline] = {
    "ListOperations": lambda random, stage: [
        lro.ListOperationsRequest(
            name=random.choice(("", "operations")),
            page_size=random.choice((0, 1, 2)),
            page_token=stage.token(random, "operations"),
        )
    ],
    "GetOperation": lambda random, stage: [lro.GetOperationRequest(name=f"operations/{random.choice(stage.sweeps)}")],
    "WaitOperation": lambda random, stage: [waiting(random, stage)],
    "CancelOperation": lambda random, stage: [
        lro.CancelOperationRequest(name=f"operations/{random.choice(stage.victims)}")
    ],
    "DeleteOperation": lambda random, stage: [
        lro.DeleteOperationRequest(name=f"operations/{random.choice(stage.victims)}")
    ],
}
SCORER: Mapping[str, Baseline] = {
    "CreateReference": lambda random, stage: [creation(random, stage)],
    "AppendActivations": shard,
    "MergeStatistics": partial,
    "ReadStatistics": lambda random, stage: [
        scorer.ReadStatisticsRequest(name=stage.reference(random.choice(("whole", "top", "whole/versions/1", "open"))))
    ],
    "FreezeReference": lambda random, stage: [
        scorer.FreezeReferenceRequest(
            name=stage.reference(random.choice(("whole", "top", "open"))), etag=stage.etag(random)
        )
    ],
    "GetReference": lambda random, stage: [
        scorer.GetReferenceRequest(name=stage.reference(random.choice(("whole", "top", "open"))))
    ],
    "ListReferences": lambda random, stage: [
        scorer.ListReferencesRequest(
            page_size=random.choice((0, 1, 2)),
            page_token=stage.token(random, "references"),
            model=random.choice(("", stage.model)),
        )
    ],
    "Score": lambda random, stage: [scoring(random, stage)],
    "Rank": lambda random, stage: [ranking(random, stage)],
    "MeasureNearness": lambda random, stage: [nearness(random, stage)],
    "DeleteReference": lambda random, stage: [
        scorer.DeleteReferenceRequest(name=stage.reference(random.choice(stage.victims)), etag=stage.etag(random))
    ],
}
HEALTH: Mapping[str, Baseline] = {
    name: lambda random, stage: [health_pb2.HealthCheckRequest(service=random.choice(SERVICES))]
    for name in ("Check", "Watch")
}
