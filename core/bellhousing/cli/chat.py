"""`bellhousing chat`: a conversation in the terminal."""

import contextlib
import sys
from typing import Annotated, Any

import typer
from typer import Option

from bellhousing.cli.connect import Connection, Model
from bellhousing.cli.generate import statistics, write
from bellhousing.cli.output import fail, say
from bellhousing.cli.spread import spread
from bellhousing.client import Client
from bellhousing.errors import BellhousingError
from bellhousing.plugins import Plugins
from bellhousing.requests import ChatMessage


def add(app: typer.Typer, _plugins: Plugins) -> None:
    """Add the command."""

    @app.command()
    @spread
    def chat(
        connection: Connection,
        message: Annotated[str, typer.Argument(help="Say this and leave; without it, a conversation begins.")] = "",
        model: Model = "",
        system: Annotated[str, Option(help="Instructions to the model.")] = "",
        max_tokens: Annotated[int, Option(help="Most tokens of an answer.", min=1)] = 512,
        temperature: Annotated[float | None, Option(help="Divides the logits; 0 is greedy.")] = None,
        seed: Annotated[int | None, Option(help="Seed of the draws.", min=0)] = None,
    ) -> None:
        """Talk to a model. Ctrl-C ends an answer, Ctrl-D the conversation.

        Examples:

        `bellhousing chat`

        `bellhousing chat "What is a bell housing?" --system "Answer in one sentence."`
        """
        given = {"model": model, "max_tokens": max_tokens, "temperature": temperature, "seed": seed}
        with connection.client() as client:
            talk = Conversation(client, system, {name: value for name, value in given.items() if value is not None})
            if message:
                talk.answer(message)
            else:
                talk.run()


class Conversation:
    """Turns of a person and a model; `arguments` go with each request."""

    def __init__(self, client: Client, system: str, arguments: dict[str, Any]) -> None:
        self._client = client
        self._arguments = arguments
        self._messages = [ChatMessage("system", system)] if system else []

    def run(self) -> None:
        """Read and answer until the end of input."""
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 - gives input() its line editing and history

        prompt = "> " if sys.stdin.isatty() else ""
        while True:
            try:
                said = input(prompt)
                if said.strip():
                    self._answer_or_tell(said)
            except EOFError:
                return
            except KeyboardInterrupt:
                say("\n(Ctrl-D ends the conversation)")

    def _answer_or_tell(self, said: str) -> None:
        try:
            self.answer(said)
        except KeyboardInterrupt:
            say("\n(the answer was ended and is forgotten)")
        except BellhousingError as error:
            fail(error)

    def answer(self, said: str) -> None:
        """Say something and print the answer; an answer that does not end well leaves the conversation as it was."""
        messages = [*self._messages, ChatMessage("user", said)]
        with self._client.generate(messages=messages, **self._arguments) as stream:
            for delta in stream:
                write(delta.text)
            write("\n")
            say(statistics(stream))
            self._messages = [*messages, ChatMessage("assistant", stream.text)]
