"""`build_server`: the explainer's parts, put together."""

from prometheus_client import CollectorRegistry

from earwitness.explainer.explainer import Explainer
from earwitness.explainer.servicer import ExplainerServicer
from earwitness.explainer.settings import ExplainerSettings
from earwitness.explainer.v1 import explainer_pb2, explainer_pb2_grpc
from earwitness.inference.backend import InferenceBackend
from earwitness.inference.factory import open_backend
from earwitness.rpc.server import RpcServer

SERVICE_NAME = explainer_pb2.DESCRIPTOR.services_by_name["ExplainerService"].full_name


async def build_server(settings: ExplainerSettings, backend: InferenceBackend | None = None) -> RpcServer:
    """The explainer's server, not started yet, on the backend that the settings name unless one is given.

    A backend that is given stays its owner's to close.

    Raises: RepositoryError for a model repository that cannot be read.
    """
    server = RpcServer(settings, CollectorRegistry())
    if backend is None:
        backend = open_backend(
            settings.backend,
            triton_url=settings.triton_url,
            model_repository=settings.model_repository,
            threads=settings.local_threads,
        )
        server.on_stop(backend.close)
    explainer = Explainer(backend, settings, server.registry)
    server.on_stop(explainer.close)
    servicer = ExplainerServicer(explainer, settings)
    server.add(
        SERVICE_NAME,
        lambda grpc_server: explainer_pb2_grpc.add_ExplainerServiceServicer_to_server(servicer, grpc_server),
        backend.ready,
    )
    return server
