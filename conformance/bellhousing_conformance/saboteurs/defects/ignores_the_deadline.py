"""A deadline ends the call, and the work goes on."""

from bellhousing_conformance.saboteurs.saboteur import Saboteur


class IgnoresTheDeadline(Saboteur):
    """Keeps the target's call running when the client's deadline has passed; a cancellation ends it."""

    defect = "a deadline that passes does not cancel the work"
    seen_by = ("X05",)
    forwards_deadline = False
