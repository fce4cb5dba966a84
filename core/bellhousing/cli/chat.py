"""`bellhousing chat`: a conversation in the terminal."""

import sys
from typing import Annotated

import typer

from bellhousing.cli import connect
from bellhousing.cli.connect import Connection
from bellhousing.cli.generate import statistics
from bellhousing.cli.output import say, stderr
from bellhousing.client import Client
from bellhousing.client.connection import DEFAULT_ADDRESS
from bellhousing.errors import BellhousingError
from bellhousing.plugins import Plugins
from bellhousing.requests import ChatMessage


def add(app: typer.Typer, _plugins: Plugins) -> None:
    """Add the command."""

    @app.command()
    def chat(
        message: Annotated[str, typer.Argument(help="Say this and leave; without it, a conversation begins.")] = "",
        address: connect.Address = DEFAULT_ADDRESS,
        model: connect.Model = "",
        system: Annotated[str, typer.Option(help="Instructions to the model.")] = "",
        max_tokens: Annotated[int, typer.Option(help="Most tokens of an answer.")] = 512,
        temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.7,
        use_tls: connect.UseTls = False,
        ca: connect.Ca = None,
        certificate: connect.Certificate = None,
        key: connect.Key = None,
        token: connect.Token = "",
        tenant: connect.Tenant = "",
    ) -> None:
        """Talk to a model. Ctrl-C ends an answer, Ctrl-D the conversation.

        Example: bellhousing chat --system "Answer in one sentence."
        """
        connection = Connection(address, use_tls, ca, certificate, key, token, tenant)
        with connection.client() as client:
            talk = Conversation(client, model, max_tokens, temperature, system)
            if message:
                talk.answer(message)
            else:
                talk.run()


class Conversation:
    """Turns of a person and a model."""

    def __init__(self, client: Client, model: str, max_tokens: int, temperature: float, system: str) -> None:
        self._client = client
        self._model = model
        self._max_tokens = max_tokens
        self._temperature = temperature
        self._messages = [ChatMessage("system", system)] if system else []

    def run(self) -> None:
        """Read and answer until the end of input."""
        import readline  # noqa: F401 - gives input() its line editing and history

        while True:
            try:
                said = input("> " if sys.stdin.isatty() else "")
            except (EOFError, KeyboardInterrupt):
                return
            if said.strip():
                self._answer_or_tell(said)

    def _answer_or_tell(self, said: str) -> None:
        try:
            self.answer(said)
        except KeyboardInterrupt:
            say("\n(ended)")
        except BellhousingError as error:
            stderr.print(f"[bold red]error:[/] {error}", highlight=False)

    def answer(self, said: str) -> None:
        """Say something and print the answer; an answer that fails leaves the conversation as it was."""
        messages = [*self._messages, ChatMessage("user", said)]
        with self._client.generate(
            messages=messages, model=self._model, max_tokens=self._max_tokens, temperature=self._temperature
        ) as stream:
            for delta in stream:
                sys.stdout.write(delta.text)
                sys.stdout.flush()
            sys.stdout.write("\n")
            say(statistics(stream))
            self._messages = [*messages, ChatMessage("assistant", stream.text)]
