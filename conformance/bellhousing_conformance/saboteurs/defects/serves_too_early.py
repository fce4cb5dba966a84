"""Health says SERVING while the model loads."""

from typing import Any

from grpc_health.v1 import health_pb2

from bellhousing_conformance.saboteurs.saboteur import Saboteur

SERVING = health_pb2.HealthCheckResponse.SERVING


class ServesTooEarly(Saboteur):
    """Says SERVING whatever the truth is, even when nothing runs."""

    defect = "health says SERVING while the model is still loading"
    seen_by = ("L01", "L03", "E04")

    def answered(self, method: str, answer: Any) -> None:
        """See `Saboteur`."""
        if method == "Check":
            answer.status = SERVING

    def failed(self, method: str) -> Any:
        """See `Saboteur`."""
        return health_pb2.HealthCheckResponse(status=SERVING) if method == "Check" else None
