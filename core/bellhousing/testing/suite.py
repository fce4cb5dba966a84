"""The promises of `backend.py` as tests that any backend's author can run."""

import asyncio
import codecs
import json
import math
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from bellhousing.backend import Backend
from bellhousing.capabilities import FIELDS
from bellhousing.events import Delta, Finished, Started
from bellhousing.requests import Chat, ChatMessage, StructuredKind, StructuredOutput
from bellhousing.testing.probe import Probe, build, probing
from bellhousing.testing.serving import Served, serving

LIMIT = 12
PROMPT_FORMS = ("text", "token_ids", "chat")
CORES_REASONS = ("stop_string", "stop_token", "time_budget")
CHAT = Chat((ChatMessage("user", "one two three"),))
FORMS: Mapping[StructuredKind, tuple[StructuredOutput, Callable[[str], object]]] = {
    "choice": (StructuredOutput("choice", options=("red", "blue")), lambda text: text in ("red", "blue")),
    "regex": (StructuredOutput("regex", "[0-9]{3}"), lambda text: re.fullmatch("[0-9]{3}", text)),
    "json_object": (StructuredOutput("json_object"), lambda text: isinstance(json.loads(text), dict)),
    "json_schema": (
        StructuredOutput("json_schema", json.dumps({"type": "string", "enum": ["red", "blue"]})),
        lambda text: json.loads(text) in ("red", "blue"),
    ),
}


class BackendSuite:
    """Subclass it, set `backend`, and pytest checks everything that core relies on.

    `options` are the backend's, `model` the model's file, `prompt` a text that the model continues for a dozen tokens,
    `seconds` the longest time that one generation may take. What a backend does not declare is skipped. A subclass may
    add tests; overriding one of these raises `TypeError`.
    """

    pytestmark: ClassVar[Any]
    backend: ClassVar[type[Backend]]
    options: ClassVar[dict[str, Any]] = {}
    model: ClassVar[Path | None] = None
    prompt: ClassVar[str] = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    seconds: ClassVar[float] = 60.0

    def __init_subclass__(cls) -> None:
        if not hasattr(cls, "pytestmark"):
            # Not on this class: pytest would take its loop scope before a subclass's own.
            cls.pytestmark = pytest.mark.asyncio
        checks = [name for name in vars(BackendSuite) if name.startswith("test_")]
        changed = sorted(name for name in checks if getattr(cls, name) is not getattr(BackendSuite, name))
        if changed:
            raise TypeError(
                f"{cls.__name__} overrides {', '.join(changed)}: the promises are the same for every backend"
            )

    def probing(self) -> AbstractAsyncContextManager[Probe]:
        """Run the backend as core would, without the server."""
        return probing(self.backend, self.options, self.model, self.prompt, self.seconds)

    def serving(self) -> AbstractAsyncContextManager[Served]:
        """Run the backend behind a real server."""
        return serving(self.backend, options=self.options, model={"model": str(self.model)} if self.model else {})

    async def test_the_description_keeps_to_the_contract(self) -> None:
        async with self.probing() as probe:
            info = probe.info
        declared = info.capabilities.parameters
        assert info.engine, "ModelInfo.engine should name the engine"
        assert info.context_length > 1
        assert info.max_running >= 1
        assert declared.keys() <= FIELDS.keys(), f"no fields of the contract: {sorted(declared.keys() - FIELDS.keys())}"
        assert any(form in declared for form in PROMPT_FORMS), f"expected one of {PROMPT_FORMS} among the parameters"
        wider = [name for name, limits in declared.items() if limits.exceeds(FIELDS[name])]
        assert not wider, f"ranges wider than the contract's: {wider}"
        told = info.capabilities.logprobs_mode != "unspecified"
        assert told == ("logprobs.top" in declared), (
            "logprobs_mode should be told exactly when logprobs.top is declared"
        )

    async def test_what_runs_is_within_the_bounds_of_the_backend(self) -> None:
        async with self.probing() as probe:
            found, bounds = probe.info.capabilities, self.backend.bounds
        assert found.beyond(bounds.most) == [], "Backend.bounds.most should have these, or a model not declare them"
        assert bounds.least.beyond(found) == [], "Backend.bounds.least should not have these, or a model declare them"

    async def test_a_generation_is_started_then_deltas_then_one_finished(self) -> None:
        async with self.probing() as probe:
            events = (await probe.run(probe.request(max_tokens=LIMIT))).events
        kinds = [type(event) for event in events]
        assert kinds[:1] == [Started]
        assert kinds[-1:] == [Finished]
        assert set(kinds[1:-1]) == {Delta}, "the prompt should lead to output, and nothing else come between"

    async def test_a_sequence_ends_once_and_not_for_a_reason_of_cores(self) -> None:
        async with self.probing() as probe:
            finished = (await probe.run(probe.request(max_tokens=LIMIT))).finished
        assert [end.index for end in finished.sequences] == [0]
        assert finished.sequences[0].reason not in CORES_REASONS, "core does the matching and the timing"

    async def test_the_number_of_prompt_tokens_is_told_by_the_end(self) -> None:
        async with self.probing() as probe:
            output = await probe.run(probe.request(max_tokens=LIMIT))
        first = output.events[0]
        assert isinstance(first, Started)
        told = first.prompt_tokens if output.finished.prompt_tokens is None else output.finished.prompt_tokens
        assert told, "Started or Finished should tell prompt_tokens"

    async def test_deltas_count_their_tokens(self) -> None:
        async with self.probing() as probe:
            deltas, info = (await probe.run(probe.request(max_tokens=LIMIT))).deltas, probe.info
        assert all(delta.token_count >= 1 for delta in deltas)
        for delta in deltas if info.capabilities.token_ids else ():
            assert len(delta.token_ids) == delta.token_count
            assert all(0 <= i < (info.vocabulary_size or math.inf) for i in delta.token_ids)
            assert not set(delta.token_ids) & set(info.eos_token_ids), "the end token is left out of deltas"

    async def test_max_tokens_is_exact(self) -> None:
        async with self.probing() as probe:
            _need(probe, "sampling.max_tokens")
            for limit in (1, 2, 5):
                output = await probe.run(probe.request(max_tokens=limit, ignore_eos=True))
                assert output.tokens() <= limit
                if probe.supports("sampling.ignore_eos"):
                    assert (output.tokens(), output.reason()) == (limit, "max_tokens")

    async def test_min_tokens_are_reached(self) -> None:
        async with self.probing() as probe:
            _need(probe, "sampling.min_tokens", "sampling.max_tokens")
            for seed in range(3):
                request = probe.request(min_tokens=LIMIT, max_tokens=LIMIT, temperature=1.0, seed=seed)
                assert (await probe.run(request)).tokens() == LIMIT

    async def test_every_declared_sampling_parameter_is_accepted(self) -> None:
        async with self.probing() as probe:
            names = [name.removeprefix("sampling.") for name in FIELDS if name.startswith("sampling.")]
            for name in filter(lambda name: probe.supports(f"sampling.{name}"), names):
                request = probe.request(**{"max_tokens": 4, "temperature": 0.7, name: probe.example(name)})
                assert (await probe.run(request)).events, name

    async def test_every_declared_form_of_prompt_is_accepted(self) -> None:
        async with self.probing() as probe:
            if probe.supports("chat"):
                assert (await probe.run(probe.request(CHAT, max_tokens=4))).finished
            if probe.supports("token_ids") and probe.info.capabilities.tokenize:
                ids = tuple(token.id for token in await probe.backend.tokenize(self.prompt, add_special=True))
                request = probe.request(max_tokens=LIMIT)
                as_ids = await probe.run(replace(request, prompt=ids))
                if _is_repeatable(probe):
                    assert as_ids.text() == (await probe.run(request)).text(), "ids should continue as their text does"

    async def test_output_has_the_form_that_was_asked_for(self) -> None:
        async with self.probing() as probe:
            kinds = [kind for kind in FORMS if probe.supports(f"structured_output.{kind}")]
            if not kinds:
                pytest.skip("no structured output is declared")
            for kind in kinds:
                form, is_met = FORMS[kind]
                output = await probe.run(replace(probe.request(max_tokens=64), structured_output=form))
                if kind == "json_object" and output.reason() == "max_tokens":
                    continue  # it alone may be of any length
                text = output.text().decode()
                assert is_met(text), f"{kind}: found {text!r}"

    async def test_several_sequences_are_told_apart(self) -> None:
        async with self.probing() as probe:
            _need(probe, "sampling.n")
            output = await probe.run(probe.request(n=2, max_tokens=LIMIT, temperature=1.0))
        assert sorted(end.index for end in output.finished.sequences) == [0, 1]
        assert {delta.index for delta in output.deltas} <= {0, 1}
        assert all(output.tokens(index) <= LIMIT for index in (0, 1))

    async def test_log_probabilities_come_one_a_token_best_first(self) -> None:
        async with self.probing() as probe:
            _need(probe, "logprobs.top")
            output = await probe.run(replace(probe.request(max_tokens=LIMIT), logprobs=2))
        for delta in output.deltas:
            assert len(delta.logprobs) == delta.token_count
            for entry in delta.logprobs:
                tops = [top.logprob for top in entry.top]
                assert entry.logprob <= 0
                assert all(top <= 0 for top in tops)
                assert tops == sorted(tops, reverse=True)
                assert len(tops) == 2

    async def test_no_log_probabilities_come_unless_asked_for(self) -> None:
        async with self.probing() as probe:
            output = await probe.run(probe.request(max_tokens=LIMIT))
        assert not any(delta.logprobs or delta.prompt_logprobs for delta in output.deltas)

    async def test_greedy_output_repeats(self) -> None:
        async with self.probing() as probe:
            if not _is_repeatable(probe):
                pytest.skip("no determinism is declared")
            request = probe.request(max_tokens=LIMIT)
            assert (await probe.run(request)).text() == (await probe.run(request)).text()

    async def test_a_seed_repeats_its_draws(self) -> None:
        async with self.probing() as probe:
            _need(probe, "sampling.seed", "sampling.temperature")
            if probe.info.capabilities.determinism == "none":
                pytest.skip("no determinism is declared")
            request = probe.request(max_tokens=LIMIT, temperature=1.0, seed=5)
            assert (await probe.run(request)).text() == (await probe.run(request)).text()

    async def test_closing_early_ends_the_work_and_the_next_request_runs(self) -> None:
        async with self.probing() as probe:
            for _ in range(probe.info.max_running + 1):
                await probe.run_until_first_delta(probe.request())
            assert (await probe.run(probe.request(max_tokens=2))).deltas

    async def test_requests_run_beside_each_other(self) -> None:
        async with self.probing() as probe:
            requests = [
                replace(probe.request(max_tokens=LIMIT), id=str(n)) for n in range(min(4, probe.info.max_running))
            ]
            outputs = await asyncio.gather(*(probe.run(request) for request in requests))
        assert all(output.deltas for output in outputs)
        if probe.info.capabilities.determinism == "batch_invariant" and _is_repeatable(probe):
            assert len({output.text() for output in outputs}) == 1, "batch_invariant output should not differ"

    async def test_tokens_of_a_text_give_the_text_back(self) -> None:
        async with self.probing() as probe:
            if not probe.info.capabilities.tokenize:
                pytest.skip("tokenize is not declared")
            tokens = await probe.backend.tokenize(self.prompt, add_special=False)
            assert b"".join(token.piece for token in tokens).decode() == self.prompt
            if probe.info.capabilities.detokenize:
                assert (await probe.backend.detokenize([token.id for token in tokens])).decode() == self.prompt

    async def test_an_embedding_is_a_vector_of_numbers(self) -> None:
        async with self.probing() as probe:
            if not probe.info.capabilities.embed:
                pytest.skip("embed is not declared")
            result = await probe.backend.embed(self.prompt, truncate=False)
        assert result.values
        assert all(math.isfinite(value) for value in result.values)
        assert result.prompt_tokens >= 1

    async def test_a_model_that_slept_generates_again(self) -> None:
        async with self.probing() as probe:
            if not probe.info.capabilities.sleep:
                pytest.skip("sleep is not declared")
            await probe.backend.sleep(1)
            await probe.backend.wake()
            assert (await probe.run(probe.request(max_tokens=2))).deltas

    async def test_shares_of_the_load_run_from_0_to_1(self) -> None:
        async with self.probing() as probe:
            load = await probe.backend.load()
        for share in (load.kv_cache_usage, load.speculative_acceptance):
            assert share is None or 0 <= share <= 1
        assert load.waiting is None or load.waiting >= 0

    async def test_an_engine_that_lives_is_not_said_to_have_died(self) -> None:
        async with self.probing() as probe:
            death = asyncio.ensure_future(probe.backend.died())
            await asyncio.wait({death}, timeout=0.2)
            is_said = death.done()
            death.cancel()
        assert not is_said

    async def test_stop_may_be_called_twice(self) -> None:
        async with self.probing() as probe:
            await probe.backend.stop()
            await probe.backend.stop()

    async def test_stop_may_come_without_a_start(self) -> None:
        await build(self.backend, self.options, self.model).stop()

    async def test_a_client_of_the_server_gets_the_same_text(self) -> None:
        async with self.probing() as probe:
            if not _is_repeatable(probe):
                pytest.skip("no determinism is declared")
            direct = (await probe.run(probe.request(max_tokens=LIMIT))).text()
            wanted = {"max_tokens": LIMIT, "temperature": 0.0, "seed": 1}
            given: Any = {name: value for name, value in wanted.items() if probe.supports(f"sampling.{name}")}
        async with self.serving() as served:
            answer = await served.client.complete(self.prompt, **given)
        whole = codecs.getincrementaldecoder("utf-8")("replace").decode(direct)  # without a character cut at the end
        assert answer.outputs[0].text == whole

    async def test_a_client_that_leaves_frees_the_engine(self) -> None:
        async with self.serving() as served:
            for _ in range(served.model.info.max_running + 1):
                async with served.client.generate(self.prompt, timeout=self.seconds) as stream:
                    async for _delta in stream:
                        break
            can_limit = "sampling.max_tokens" in served.model.info.capabilities.parameters
            given: Any = {"max_tokens": 2} if can_limit else {}
            assert (await served.client.complete(self.prompt, timeout=self.seconds, **given)).outputs


def _need(probe: Probe, *fields: str) -> None:
    missing = [field for field in fields if not probe.supports(field)]
    if missing:
        pytest.skip(f"{', '.join(missing)} is not declared")


def _is_repeatable(probe: Probe) -> bool:
    """Tell whether the same request, greedy where it can be, should give the same output."""
    return probe.info.capabilities.determinism != "none" and probe.request(max_tokens=1).sampling.temperature in (
        0,
        None,
    )
