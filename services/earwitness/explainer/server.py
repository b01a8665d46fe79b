"""`build_server`: the explainer's parts, put together."""

import asyncio
from functools import partial

from google.longrunning import operations_pb2, operations_pb2_grpc
from prometheus_client import CollectorRegistry

from earwitness.explainer.explainer import Explainer
from earwitness.explainer.metrics import ExplainerMetrics
from earwitness.explainer.scorer_client import ScorerClient
from earwitness.explainer.servicer import ExplainerServicer
from earwitness.explainer.settings import ExplainerSettings
from earwitness.explainer.sweep.migration import SCHEMA
from earwitness.explainer.sweep.servicer import OperationsServicer
from earwitness.explainer.sweep.store import SweepStore
from earwitness.explainer.sweep.sweeps import Sweeps
from earwitness.explainer.v1 import explainer_pb2, explainer_pb2_grpc
from earwitness.inference.backend import InferenceBackend
from earwitness.inference.factory import open_backend
from earwitness.rpc.server import RpcServer
from earwitness.storage.database import Database
from earwitness.storage.metrics import StoreMetrics

SERVICE_NAME = explainer_pb2.DESCRIPTOR.services_by_name["ExplainerService"].full_name
OPERATIONS_NAME = operations_pb2.DESCRIPTOR.services_by_name["Operations"].full_name


async def build_server(settings: ExplainerSettings, backend: InferenceBackend | None = None) -> RpcServer:
    """The explainer's server, not started yet, on the backend that the settings name unless one is given.

    A backend that is given stays its owner's to close.

    Raises: RepositoryError for a model repository that cannot be read; StoreUnavailable; SchemaOutdated for a
    PostgreSQL database, which `migrate` changes and a server does not; FailedPrecondition, OSError for certificates
    and tokens to show Triton or the scorer that cannot be used.
    """
    server = RpcServer(settings, CollectorRegistry())
    if backend is None:
        backend = open_backend(
            settings.backend,
            triton_url=settings.triton_url,
            triton_tls=settings.triton_tls,
            model_repository=settings.model_repository,
            threads=settings.local_threads,
        )
        server.on_stop(backend.close)
    database = Database(settings.store_url, StoreMetrics(server.registry))
    server.on_stop(partial(asyncio.to_thread, database.close))
    await asyncio.to_thread(SCHEMA.prepare, database)
    metrics = ExplainerMetrics(server.registry)
    scorer = None
    if settings.scorer_address:
        scorer = ScorerClient(settings.scorer_address, token_file=settings.scorer_token_file, tls=settings.scorer_tls)
        server.on_stop(scorer.close)
    explainer = Explainer(backend, settings, metrics, scorer)
    server.on_stop(explainer.close)
    sweeps = Sweeps(explainer, SweepStore(database, settings.sweep_lease_s), settings, scorer, metrics)
    server.on_start(sweeps.start)
    server.on_drain(sweeps.drain)
    server.on_stop(sweeps.close)
    servicer = ExplainerServicer(explainer, sweeps, settings)
    operations = OperationsServicer(sweeps)
    server.add(
        SERVICE_NAME,
        lambda grpc_server: explainer_pb2_grpc.add_ExplainerServiceServicer_to_server(servicer, grpc_server),
        backend.ready,
    )
    server.add(
        OPERATIONS_NAME,
        lambda grpc_server: operations_pb2_grpc.add_OperationsServicer_to_server(operations, grpc_server),
        sweeps.healthy,
    )
    return server
