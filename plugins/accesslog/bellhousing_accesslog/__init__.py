"""A plugin: one JSON line for each request for generation, without prompts and outputs."""

from bellhousing_accesslog.plugin import AccessLog
from bellhousing_accesslog.record import record_of

__all__ = ["AccessLog", "plugin", "record_of"]

plugin = AccessLog()
