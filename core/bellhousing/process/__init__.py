"""A backend in a supervised process of its own, so that native code can crash without taking the server down."""

from bellhousing.process.proxy import ProcessBackend

__all__ = ["ProcessBackend"]
