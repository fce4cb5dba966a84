"""The Ollama backend: `OllamaBackend` runs a server of its own, `AttachedOllamaBackend` uses one that runs."""

from bellhousing_ollama.attached import AttachedOllamaBackend
from bellhousing_ollama.backend import OllamaBackend
from bellhousing_ollama.options import AttachedOptions, OllamaOptions

__all__ = ["AttachedOllamaBackend", "AttachedOptions", "OllamaBackend", "OllamaOptions"]
