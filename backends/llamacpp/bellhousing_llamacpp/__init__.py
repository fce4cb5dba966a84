"""The llama.cpp backend, embedded through the `xllamacpp` wheel."""

from bellhousing_llamacpp.backend import LlamaCppBackend
from bellhousing_llamacpp.options import LlamaCppOptions

__all__ = ["LlamaCppBackend", "LlamaCppOptions"]
