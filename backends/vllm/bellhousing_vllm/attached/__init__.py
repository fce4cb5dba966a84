"""A vLLM server that already runs, over its HTTP API: nothing here imports vLLM."""

from bellhousing_vllm.attached.backend import AttachedVllmBackend
from bellhousing_vllm.attached.options import AttachedOptions

__all__ = ["AttachedOptions", "AttachedVllmBackend"]
