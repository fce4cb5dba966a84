"""Ways to an endpoint: the contract, and engines' own HTTP APIs, all with the same clock."""

from collections.abc import Callable, Mapping

from bellhousing.errors import ConfigurationError
from bellhousing_conformance.load.clients.client import Client, Endpoint

KINDS: Mapping[str, str] = {
    "contract": "the contract over gRPC",
    "openai": "an OpenAI-compatible HTTP server, such as vLLM's own",
    "ollama": "Ollama's own HTTP API",
    "tgi": "the HTTP API of a TGI router",
}


def client_of(endpoint: Endpoint) -> Client:
    """Return the client of an endpoint's kind. Raises `ConfigurationError` for an unknown one."""
    if endpoint.kind == "contract":
        from bellhousing_conformance.load.clients.contract import ContractClient

        return ContractClient(endpoint)
    from bellhousing_conformance.load.clients import ollama, openai, tgi

    kinds: Mapping[str, Callable[[Endpoint], Client]] = {
        "openai": openai.OpenAiClient,
        "ollama": ollama.OllamaClient,
        "tgi": tgi.TgiClient,
    }
    if endpoint.kind not in kinds:
        raise ConfigurationError(f"client {endpoint.kind!r}: expected one of {', '.join(KINDS)}")
    return kinds[endpoint.kind](endpoint)
