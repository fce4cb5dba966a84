"""The vLLM backend. Importing it does not import vLLM: only the engine's process does."""

from bellhousing_vllm.backend import VllmBackend
from bellhousing_vllm.options import VllmOptions

__all__ = ["VllmBackend", "VllmOptions"]
