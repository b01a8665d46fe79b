"""Which role each method asks for, at least; what is not listed is for admin."""

from collections.abc import Mapping

from earwitness.rpc.auth import Role

_EXPLAINER = "/earwitness.explainer.v1.ExplainerService/"
_OPERATIONS = "/google.longrunning.Operations/"
_SCORER = "/earwitness.scorer.v1.ScorerService/"
_REFLECTION = "/ServerReflectionInfo"

ROLES: Mapping[str, Role] = {
    f"{_EXPLAINER}ListModels": Role.READ,
    f"{_EXPLAINER}GetModel": Role.READ,
    f"{_EXPLAINER}Explain": Role.EXPLAIN,
    f"{_EXPLAINER}StreamExplain": Role.EXPLAIN,
    f"{_EXPLAINER}CreateSweep": Role.EXPLAIN,
    f"{_EXPLAINER}GetSweep": Role.READ,
    f"{_EXPLAINER}WatchSweep": Role.READ,
    f"{_EXPLAINER}StreamSweepExplanations": Role.READ,
    f"{_EXPLAINER}RankSweep": Role.EXPLAIN,
    f"{_OPERATIONS}GetOperation": Role.READ,
    f"{_OPERATIONS}ListOperations": Role.READ,
    f"{_OPERATIONS}WaitOperation": Role.READ,
    f"{_OPERATIONS}CancelOperation": Role.EXPLAIN,
    f"{_OPERATIONS}DeleteOperation": Role.ADMIN,
    f"{_SCORER}GetReference": Role.READ,
    f"{_SCORER}ListReferences": Role.READ,
    f"{_SCORER}ReadStatistics": Role.READ,
    f"{_SCORER}Score": Role.EXPLAIN,
    f"{_SCORER}Rank": Role.EXPLAIN,
    f"{_SCORER}MeasureNearness": Role.EXPLAIN,
    f"{_SCORER}CreateReference": Role.ADMIN,
    f"{_SCORER}AppendActivations": Role.ADMIN,
    f"{_SCORER}MergeStatistics": Role.ADMIN,
    f"{_SCORER}FreezeReference": Role.ADMIN,
    f"{_SCORER}DeleteReference": Role.ADMIN,
    f"/grpc.reflection.v1.ServerReflection{_REFLECTION}": Role.READ,
    f"/grpc.reflection.v1alpha.ServerReflection{_REFLECTION}": Role.READ,
}
