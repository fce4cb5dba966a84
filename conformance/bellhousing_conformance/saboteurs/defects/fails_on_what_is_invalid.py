"""A request that is not valid is a fault of the server."""

import grpc

from bellhousing_conformance.saboteurs.saboteur import Saboteur


class FailsOnWhatIsInvalid(Saboteur):
    """Tells INTERNAL in place of INVALID_ARGUMENT."""

    defect = "an invalid request is INTERNAL, as if it had broken the server"
    seen_by = ("E01", "E05")

    async def refused(self, code: grpc.StatusCode) -> grpc.StatusCode:
        """See `Saboteur`."""
        return grpc.StatusCode.INTERNAL if code is grpc.StatusCode.INVALID_ARGUMENT else code
