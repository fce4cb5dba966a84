"""Options of the attached vLLM backend."""

from pydantic import Field

from bellhousing.attachment import Attachment


class AttachedOptions(Attachment):
    """Which server, and which of its models. How it batches and is spread over devices is its own affair."""

    url: str = Field("http://127.0.0.1:8000", description="Address of vLLM's OpenAI-compatible server.")
    served_model: str = Field("", description="Name of the model there; unset: the only one that is no adapter.")
