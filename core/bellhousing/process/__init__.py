"""A backend in a supervised process of its own, so that native code can crash without taking the server down.

`ProcessBackend` is all that the rest of core uses. The server's side is `proxy` (the interface) over `engine` (the
process) and `connection`; the engine's side is `child` with its `lifeline`; both speak `frames`.
"""

from bellhousing.process.proxy import ProcessBackend

__all__ = ["ProcessBackend"]
