"""`build_server`: the scorer's parts, put together."""

import asyncio

from prometheus_client import CollectorRegistry

from earwitness.rpc.server import RpcServer
from earwitness.scorer.metrics import ScorerMetrics
from earwitness.scorer.migration import SCHEMA
from earwitness.scorer.scorer import Scorer
from earwitness.scorer.servicer import ScorerServicer
from earwitness.scorer.settings import ScorerSettings
from earwitness.scorer.store import ReferenceStore
from earwitness.scorer.v1 import scorer_pb2, scorer_pb2_grpc
from earwitness.storage.database import Database
from earwitness.storage.metrics import StoreMetrics

SERVICE_NAME = scorer_pb2.DESCRIPTOR.services_by_name["ScorerService"].full_name


async def build_server(settings: ScorerSettings) -> RpcServer:
    """The scorer's server, not started yet, on the database of the settings, whose schema it brings up to date.

    Raises: StoreUnavailable; SchemaOutdated for a PostgreSQL database, which `migrate` changes and a server does not.
    """
    server = RpcServer(settings, CollectorRegistry())
    database = Database(settings.store_url, StoreMetrics(server.registry))
    await asyncio.to_thread(SCHEMA.prepare, database)
    scorer = Scorer(
        ReferenceStore(database),
        ScorerMetrics(server.registry),
        compute_threads=settings.compute_threads,
        cache_bytes=settings.cache_bytes,
        max_concurrent_appends=settings.max_concurrent_appends,
        max_concurrent_reads=settings.max_concurrent_reads,
        max_concurrent_freezes=settings.max_concurrent_freezes,
        max_waiting_freezes=settings.max_waiting_freezes,
    )

    async def close() -> None:
        await asyncio.to_thread(scorer.close)
        database.close()

    server.on_stop(close)
    servicer = ScorerServicer(scorer, settings.append_idle_s)
    server.add(
        SERVICE_NAME,
        lambda grpc_server: scorer_pb2_grpc.add_ScorerServiceServicer_to_server(servicer, grpc_server),
        scorer.healthy,
    )
    return server
