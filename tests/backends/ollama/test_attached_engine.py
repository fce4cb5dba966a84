"""`ollama-attached` on the real Ollama: the shared engine's own server is the one that runs already."""

import pytest

from bellhousing.testing import Served, serving
from bellhousing.testing.probe import Probe
from bellhousing_ollama import AttachedOllamaBackend
from tests.backends.ollama.conftest import CONTEXT, FRANCE, SEQUENCES
from tests.backends.ollama.test_engine import ollama_of

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]


async def test_it_answers_as_our_own_engine_does_and_changes_no_model(served: Served, probe: Probe) -> None:
    backend = ollama_of(served)
    models = await backend._connected().models()
    options = {
        "url": backend._connected()._http.url,
        "served_model": backend._model,
        "context_per_sequence": CONTEXT,
    }
    model = {"batching": {"max_sequences": SEQUENCES}}
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    async with serving(AttachedOllamaBackend, options=options, model=model) as attached:
        assert attached.model.info.context_length == CONTEXT
        for prompt in ({"prompt": FRANCE}, {"messages": chat}):
            ours, theirs = [
                await one.client.complete(**prompt, max_tokens=8, temperature=0) for one in (served, attached)
            ]
            assert ours.outputs[0].text == theirs.outputs[0].text
    assert await backend._connected().models() == models
