import collections.abc
import dataclasses
import itertools
import types
from collections.abc import Callable
from inspect import isfunction
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from bellhousing.backend import Backend
from bellhousing.events import Delta, Finished, Started
from bellhousing.process import frames
from bellhousing.requests import GenerationRequest

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
SIMPLE: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(),
    bytes: st.binary(),
    bool: st.booleans(),
    int: st.integers(0, 2**32 - 1),
    float: st.floats(allow_nan=False),
    object: JSON,
    type(None): st.none(),
}


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for all values of a type of the backend interface, so that a new field is never forgotten."""
    if kind in SIMPLE:
        return SIMPLE[kind]
    if dataclasses.is_dataclass(kind):
        hints, build = get_type_hints(kind), cast("Callable[..., Any]", kind)
        return st.builds(build, **{field.name: values(hints[field.name]) for field in dataclasses.fields(kind)})
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return st.builds(kind)
    return generic_values(get_origin(kind), get_args(kind))


def generic_values(origin: Any, arguments: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (Union, types.UnionType):
        return st.one_of([values(argument) for argument in arguments])
    if origin is tuple:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if origin is collections.abc.Sequence:
        return st.lists(values(arguments[0]), max_size=3)
    if origin in (dict, collections.abc.Mapping):
        return st.dictionaries(values(arguments[0]), values(arguments[1]), max_size=3)
    raise NotImplementedError(f"{origin}[{arguments}]")


METHODS = ["load", "tokenize", "detokenize", "embed", "load_adapter", "unload_adapter", "sleep", "wake", "stop"]


@settings(max_examples=40)
@given(values(GenerationRequest))
def test_a_request_arrives_as_it_was_sent(request: GenerationRequest) -> None:
    arrived = frames.decode_order(frames.encode(frames.Generate(7, request)))
    assert isinstance(arrived, frames.Generate)
    assert arrived.id == 7
    assert arrived.request == request
    assert type(arrived.request.prompt) is type(request.prompt)


@given(values(Started | Delta | Finished))
def test_an_event_arrives_as_it_was_yielded(event: Started | Delta | Finished) -> None:
    arrived = frames.decode_reply(frames.encode(frames.event_frame(7, event)))
    assert isinstance(arrived, frames.StartedEvent | frames.DeltaEvent | frames.FinishedEvent)
    assert arrived.id == 7
    assert arrived.event == event


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=20)
@given(st.data())
def test_the_arguments_of_a_method_arrive_as_they_were_given(method: str, data: st.DataObject) -> None:
    for name, kind in get_type_hints(getattr(Backend, method)).items():
        if name != "return":
            value = data.draw(values(kind))
            assert frames.decode_argument(method, name, frames.encode_value(value)) == value


@pytest.mark.parametrize("method", [*METHODS, "start"])
@settings(max_examples=20)
@given(st.data())
def test_the_result_of_a_method_arrives_as_it_was_returned(method: str, data: st.DataObject) -> None:
    value = data.draw(values(get_type_hints(getattr(Backend, method))["return"]))
    assert frames.decode_result(method, frames.encode_value(value)) == value


def test_every_method_of_the_interface_has_a_form_on_the_wire() -> None:
    forms = {"start", "generate", "died", *METHODS}
    methods = {name for name, value in vars(Backend).items() if isfunction(value) and not name.startswith("_")}
    assert forms == methods, "what belongs to the class is asked of it without a process"


@given(st.lists(st.binary(max_size=40), max_size=8), st.lists(st.integers(0, 400), max_size=8))
def test_frames_are_cut_alike_however_the_bytes_arrive(bodies: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(frames.packed, bodies))
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    cutter = frames.FrameCutter()
    found = [body for a, b in itertools.pairwise(edges) for body in cutter.feed(stream[a:b])]
    assert found == bodies


@pytest.mark.parametrize("event", [5, None, Delta(5)])  # type: ignore[arg-type]
def test_what_is_no_event_is_refused(event: Any) -> None:
    with pytest.raises(TypeError, match="expected"):
        frames.event_frame(1, event)


def test_a_frame_with_wrong_content_still_tells_its_exchange() -> None:
    body = bytearray(frames.encode(frames.Died(12, 5)))  # type: ignore[arg-type]
    with pytest.raises(msgspec.ValidationError):
        frames.decode_reply(body)
    assert frames.exchange_of(body) == 12
