"""O2: the seam for a float32 reference on the target's own weights. No reference is built in yet."""

from collections.abc import Callable
from importlib.metadata import entry_points

from bellhousing.v1 import discovery_pb2
from bellhousing_conformance.oracles import Oracle

GROUP = "bellhousing.references"
"""Entry points of this group take a `Model` and return its `Oracle`, or None when they do not know its digest."""

Reference = Callable[[discovery_pb2.Model], Oracle | None]


def oracle_of(model: discovery_pb2.Model) -> Oracle | None:
    """Return the first oracle that an installed reference offers; None when there is none."""
    for point in sorted(entry_points(group=GROUP), key=lambda each: each.name):
        reference: Reference = point.load()
        oracle = reference(model)
        if oracle is not None:
            return oracle
    return None
