"""What a check is given: the target, what it declares, and where to put what was seen."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar, Unpack

from bellhousing.client.arguments import GenerateArguments, generate_request
from bellhousing.v1 import discovery_pb2
from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.bench import Bench
from bellhousing_conformance.calls import Calls, Incomplete, Run
from bellhousing_conformance.judges import LEFT_OUT
from bellhousing_conformance.oracles import Oracle, Reference
from bellhousing_conformance.support import declared_range, excuse, greatest, is_declared
from bellhousing_conformance.targets.hooks import Hooks
from bellhousing_conformance.verdict import Row, Tier

Answer = TypeVar("Answer")

SUBJECTS = ("the sea", "a small town", "bread", "the north wind", "a long road", "music", "glass", "winter")
SEED_LIMIT = 2**31 - 1
"""Seeds stay below it: an engine may narrow the contract's range."""

LONG_WORDS = 150
SEQUENCES_AT_ONCE = 64


@asynccontextmanager
async def task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """Yield a group whose first failure ends it all, and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures


@dataclass(slots=True, kw_only=True)
class Probe:
    """The context of one attempt of a check.

    Everything random comes from `random`, which the run's seed, the check and the attempt decide. `oracle` is the exact
    model where the target is known to draw from it, else None; `reference` may also be of another precision. `adapters`
    are sources of adapters of different weights that fit the model and that the target can read. `scale` is above 1 in
    the second stage of a statistic; `size` takes care of it. `task_file` has the operator's own items for Q04. `bench`
    is what the checks that measure share; `shares_process` tells that a part of the target runs in this process, where
    times say nothing of the sender. `rows` are the attempt's raw samples: what is judged.
    """

    calls: Calls
    model: discovery_pb2.Model
    hooks: Hooks
    tier: Tier
    random: random.Random
    oracle: Oracle | None = None
    adapters: tuple[str, ...] = ()
    scale: int = 1
    task_file: Path | None = None
    reference: Reference | None = None
    bench: Bench = field(default_factory=Bench)
    shares_process: bool = False
    rows: list[Row] = field(default_factory=list)

    # What the target declares.

    def supports(self, *paths: str) -> bool:
        """Tell whether the target declares all of these capabilities; see `support` for their names."""
        return all(is_declared(self.model, path) for path in paths)

    def allows(self, path: str, value: float, *, entries: int = 1) -> bool:
        """Tell whether the target declares a field, and with it a value, and so many entries of a list or map."""
        limits = declared_range(self.model, path)
        if limits is None or (limits.max_items is not None and entries > limits.max_items):
            return False
        return limits.violation(value) is None

    # How much to do, and with what.

    def size(self, *, smoke: int, standard: int, full: int | None = None) -> int:
        """Return the size of a sample for this tier; the second stage of a statistic has a larger one."""
        sizes = {"smoke": smoke, "standard": standard, "full": standard if full is None else full}
        return sizes[self.tier] * self.scale

    def alternatives(self, wanted: int) -> int:
        """Return how many alternatives to ask for at a place: as many as wanted, or as the target tells."""
        return int(self.at_most("logprobs.top", wanted))

    def at_most(self, path: str, wanted: float) -> float:
        """Return a value for a field: the wanted one, or the greatest that the target declares."""
        most = greatest(self.model, path)
        return wanted if most is None else min(wanted, most)

    def seed(self) -> int:
        """Return a seed for a request."""
        return self.random.randrange(int(self.at_most("sampling.seed", SEED_LIMIT - 1)) + 1)

    def prompt(self) -> str:
        """Return a text that goes on for long and that no other request of the run begins with."""
        return f"Note {self.random.randrange(10**9)}. Write a long story about {self.random.choice(SUBJECTS)}. Once"

    def long_prompt(self) -> str:
        """Return such a text of some 170 tokens: a prefix cache may keep whole blocks only, of 128 tokens or fewer."""
        return " ".join([self.prompt(), *(self.random.choice(("sea", "road", "wind")) for _ in range(LONG_WORDS))])

    # Calls. Each raises `CallFailed`, `TargetSilent` and, where an answer lacks what it must have, `Incomplete`. The
    # runner judges them: a check lets them pass.

    def request(
        self, prompt: str | Iterable[int] | None = None, **arguments: Unpack[GenerateArguments]
    ) -> pb.GenerateRequest:
        """Return a request for the model under test; the arguments are those of `AsyncClient.generate`."""
        arguments.setdefault("model", self.model.name)
        return generate_request(self.prompt() if prompt is None else prompt, None, arguments)

    async def generate(self, prompt: str | Iterable[int] | None = None, **arguments: Unpack[GenerateArguments]) -> Run:
        """Return a generation that ended well."""
        return await self.run(self.request(prompt, **arguments))

    async def run(self, request: pb.GenerateRequest, *, until: Callable[[Run], bool] | None = None) -> Run:
        """Return the generation of a request that ended well, or that was cancelled when `until` said so."""
        run = await self.calls.stream(request, until=until)
        if run.failed is not None:
            raise run.failed
        return run

    async def attempt(self, request: pb.GenerateRequest, *, deadline: float | None = None) -> Run:
        """Return a generation however it ended; `deadline` is that of `Calls.stream`.

        Raises `CallFailed` where it asked for more than the target declares.
        """
        run = await self.calls.stream(request, deadline=deadline)
        if run.failed is not None and excuse(self.model, run.failed):
            raise run.failed
        return run

    async def fill_cache(self, request: pb.GenerateRequest) -> None:
        """Put a request's prompt into a prefix cache, where there is one, so that all that follow find it alike."""
        shortest = pb.GenerateRequest()
        shortest.CopyFrom(request)
        shortest.sampling.max_tokens = 1
        await self.run(shortest)

    async def complete(self, request: pb.GenerateRequest) -> pb.CompleteResponse:
        """Return the unary form of a request, with at least one output."""
        answer: pb.CompleteResponse = await self.calls.ask(self.calls.stubs.inference.Complete, request)
        if not answer.outputs:
            raise Incomplete("Complete", "outputs")
        return answer

    async def describe(self) -> discovery_pb2.Model:
        """Return the model as the target describes it now."""
        request = discovery_pb2.GetModelRequest(model=self.model.name)
        answer = await self.calls.ask(self.calls.stubs.discovery.GetModel, request)
        return answer.model  # type: ignore[no-any-return]

    async def tokenize(self, text: str, *, add_special: bool = True) -> list[int]:
        """Return the ids, at least one, that Generate would use for a text; if asked, without the special ones."""
        return list((await self.tokenized(text, add_special=add_special)).token_ids)

    async def tokenized(self, text: str, *, add_special: bool = True, with_pieces: bool = False) -> pb.TokenizeResponse:
        """Return all that is told of a text's tokens, of which there is at least one."""
        request = pb.TokenizeRequest(model=self.model.name, text=text, add_special=add_special, with_pieces=with_pieces)
        answer: pb.TokenizeResponse = await self.calls.ask(self.calls.stubs.inference.Tokenize, request)
        if not answer.token_ids:
            raise Incomplete("Tokenize", "token ids")
        return answer

    async def detokenize(self, ids: Iterable[int]) -> str:
        """Return the text of some ids, at least one."""
        request = pb.DetokenizeRequest(model=self.model.name, token_ids=ids)
        answer = await self.calls.ask(self.calls.stubs.inference.Detokenize, request)
        return str(answer.text)

    async def load(self) -> discovery_pb2.Load:
        """Return how busy the model is now."""
        request = discovery_pb2.GetLoadRequest(model=self.model.name)
        answer = await self.calls.ask(self.calls.stubs.discovery.GetLoad, request)
        return answer.load  # type: ignore[no-any-return]

    async def each(self, work: Iterable[Callable[[], Awaitable[Answer]]], *, at_once: int) -> list[Answer]:
        """Do the work with at most `at_once` in flight; return the results in order. The first failure ends it all."""
        slots = asyncio.Semaphore(at_once)

        async def one(job: Callable[[], Awaitable[Answer]]) -> Answer:
            async with slots:
                return await job()

        async with task_group() as group:
            tasks = [group.create_task(one(job)) for job in work]
        return [task.result() for task in tasks]

    async def draws(
        self, count: int, prompt: str, *, at_once: int = 8, **arguments: Unpack[GenerateArguments]
    ) -> list[int]:
        """Return the ids of `count` independent draws of one token; -1 is the end token.

        Draws share a request, as its `n` sequences, where the target declares `sampling.n`. Each request has a seed of
        its own, where the target declares seeds.
        """
        arguments["max_tokens"] = 1
        found = await self.samples(count, prompt, at_once=at_once, **arguments)
        return [ids[0] if ids else -1 for ids in found]

    async def samples(
        self, count: int, prompt: str, *, at_once: int = 8, **arguments: Unpack[GenerateArguments]
    ) -> list[list[int]]:
        """Return the ids of `count` independent outputs, as `draws` does of one token."""
        share = int(self.at_most("sampling.n", SEQUENCES_AT_ONCE)) if self.supports("sampling.n") else 1
        shares = [share] * (count // share) + ([count % share] if count % share else [])
        requests = []
        for n in shares:
            request = self.request(prompt, **arguments)
            if self.supports("sampling.seed"):
                request.sampling.seed = self.seed()
            if share > 1:
                request.sampling.n = n
            requests.append(request)
        runs = await self.run_all(requests, at_once=at_once)
        return [run.ids(index) for run, n in zip(runs, shares, strict=True) for index in range(n)]

    async def run_all(self, requests: Iterable[pb.GenerateRequest], *, at_once: int) -> list[Run]:
        """Return the generations of some requests in order, at most `at_once` in flight."""
        return await self.each([partial(self.run, request) for request in requests], at_once=at_once)

    # What was seen: rows, judged afterwards by the check's judge.

    def equal(self, what: str, *, found: object, expected: object, **evidence: object) -> None:
        """Note that a value should equal another."""
        self.rows.append({"kind": "equal", "what": what, "expected": expected, "found": found, **evidence})

    def within(
        self, what: str, *, found: float, low: float | None = None, high: float | None = None, **evidence: object
    ) -> None:
        """Note that a number should lie between bounds, both included."""
        self.rows.append({"kind": "within", "what": what, "found": found, "low": low, "high": high, **evidence})

    def holds(self, holds: bool, what: str, **evidence: object) -> None:  # noqa: FBT001 - reads as `assert` does
        """Note something that should hold; `what` is the sentence to report when it does not."""
        self.rows.append({"kind": "holds", "what": what, "holds": holds, **evidence})

    def left_out(self, what: str, **evidence: object) -> None:
        """Note that something could not be looked at; `what` is the sentence that says why."""
        self.rows.append({"kind": LEFT_OUT, "what": what, **evidence})

    def observe(self, kind: str, **values: object) -> None:
        """Note data for a judge of the check's own."""
        self.rows.append({"kind": kind, **values})
