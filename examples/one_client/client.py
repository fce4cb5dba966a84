"""Ask any backend the same things: `python client.py [ADDRESS]`. One line of JSON for each answer.

What the model does not declare is left out, by its capabilities and never by the name of its engine.
"""

import json
import sys

from bellhousing import Client
from bellhousing.errors import InvalidRequest

PROMPT = "The capital of France is"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 12}}, "required": ["city"]}


def show(what: str, answer: object) -> None:
    """Print one answer."""
    print(json.dumps({"what": what, "answer": answer}, ensure_ascii=False))


def ask(client: Client, honoured: set[str]) -> None:
    """Print the answers to everything that the model declares."""
    greedy = client.complete(PROMPT, max_tokens=12, temperature=0, timeout=60)
    text = greedy.outputs[0].text
    show("text", text)

    stream = client.generate(PROMPT, max_tokens=12, temperature=0, timeout=60)
    show("streamed", "".join(delta.text for delta in stream))

    stop = text[len(text) // 2 :][:3] or " "
    stopped = client.complete(PROMPT, max_tokens=12, temperature=0, stop=[stop], timeout=60)
    show("stopped", {"stop": stop, "text": stopped.outputs[0].text})

    if "sampling.seed" in honoured:
        draws = [client.complete(PROMPT, max_tokens=12, temperature=0.9, seed=7, timeout=60) for _ in range(2)]
        show("seeded", [draw.outputs[0].text for draw in draws])
    if "chat" in honoured:
        messages = [{"role": "user", "content": "What is the capital of France?"}]
        chat = client.complete(messages=messages, max_tokens=12, temperature=0, timeout=60)
        show("chat", chat.outputs[0].text)
    if "structured_output.json_schema" in honoured:
        form = json.dumps(SCHEMA)
        answer = client.complete(PROMPT, json_schema=form, max_tokens=64, temperature=0, timeout=60)
        show("schema", json.loads(answer.outputs[0].text))


with Client(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051") as client:
    ask(client, {parameter.field for parameter in client.model().capabilities.parameters})
    try:
        client.complete(PROMPT, temperature=-1, timeout=60)
    except InvalidRequest as error:
        show("refused", [violation.field for violation in error.violations])
