"""What does not fit is held, and refused much later."""

import asyncio

import grpc

from bellhousing_conformance.saboteurs.saboteur import Saboteur

HELD_SECONDS = 1.5


class QueuesWithoutBound(Saboteur):
    """Lets a refused stream wait before it tells."""

    defect = f"a request that does not fit waits {HELD_SECONDS:g} s before it is refused"
    seen_by = ("B01",)

    async def refused(self, code: grpc.StatusCode) -> grpc.StatusCode:
        """See `Saboteur`."""
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            await asyncio.sleep(HELD_SECONDS)
        return code
