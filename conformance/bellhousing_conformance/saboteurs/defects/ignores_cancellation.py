"""A client that leaves does not end the work."""

from bellhousing_conformance.saboteurs.saboteur import Saboteur


class IgnoresCancellation(Saboteur):
    """Keeps the target's call running when the client has cancelled."""

    defect = "cancelling a call does not cancel the work"
    seen_by = ("X01", "X02", "X03", "X04", "X06", "X07")
    forwards_cancel = False
