"""The TGI backends: both speak to a router over HTTP, and need nothing of TGI in this environment."""

from bellhousing_tgi.attached import AttachedTgiBackend
from bellhousing_tgi.managed import TgiBackend
from bellhousing_tgi.options import AttachedTgiOptions, TgiOptions

__all__ = ["AttachedTgiBackend", "AttachedTgiOptions", "TgiBackend", "TgiOptions"]
