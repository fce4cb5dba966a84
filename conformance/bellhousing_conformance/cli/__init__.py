"""The commands `bellhousing conformance …`."""

from bellhousing_conformance.cli.application import commands

__all__ = ["commands"]
