"""Bellhousing: one gRPC contract for every LLM engine."""

__version__ = "0.1.0"
