"""The synchronous client."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bellhousing.client.arguments import GenerateArguments, Message, generate_request
from bellhousing.client.connection import DEFAULT_ADDRESS, OPTIONS, Tls, call_metadata
from bellhousing.client.failures import failure
from bellhousing.client.messages import AdapterFields, AdapterFilter, Received, Stubs, embed_request, tokenize_request
from bellhousing.client.retry import RetryPolicy
from bellhousing.errors import BellhousingError, DeadlineExceeded
from bellhousing.v1 import admin_pb2, discovery_pb2
from bellhousing.v1 import inference_pb2 as pb

Answer = TypeVar("Answer")
MOST_IN_PAGE = 1000


class Stream:
    """A generation: iterate over it for its deltas. Leaving the loop or the `with` cancels what is left."""

    def __init__(self, open_call: Callable[[float | None], Any], retry: RetryPolicy, timeout: float | None) -> None:
        self._open_call = open_call
        self._retry = retry
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._received = Received()
        self._call: Any = None
        self._messages: Generator[pb.Delta, None, None] = self._read()

    @property
    def started(self) -> pb.Started | None:
        """The stream's first message, once it came."""
        return self._received.started

    @property
    def finished(self) -> pb.Finished | None:
        """The stream's last message, once it came."""
        return self._received.finished

    @property
    def text(self) -> str:
        """The text of the first sequence so far."""
        return self._received.text

    @property
    def ttft(self) -> float | None:
        """Seconds from the call to the first token, as this client saw it."""
        return self._received.ttft

    @property
    def elapsed(self) -> float:
        """Seconds from the call to the latest message."""
        return self._received.elapsed

    def __iter__(self) -> Iterator[pb.Delta]:
        return self._messages

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cancel what is left of the generation."""
        self._messages.close()
        if self._call is not None:
            self._call.cancel()

    def __del__(self) -> None:
        if self._call is not None:
            self._call.cancel()

    def _read(self) -> Generator[pb.Delta, None, None]:
        attempt = 1
        while True:
            began = time.monotonic()
            self._call = self._open_call(_left(self._deadline))
            try:
                for message in self._call:
                    delta = self._received.take(message, time.monotonic() - began)
                    if delta is not None:
                        yield delta
            except grpc.RpcError as error:
                _pause(self._retry, failure(error), attempt, self._deadline)
                attempt += 1
            else:
                return
            finally:
                self._call.cancel()


class Client:
    """A connection to a server. Every method raises classes of `bellhousing.errors`; `timeout` is the gRPC deadline."""

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        tls: Tls | None = None,
        token: str = "",
        tenant: str = "",
        insecure: bool = False,
        retry: RetryPolicy | None = None,
    ) -> None:
        self.address = address
        self.retry = retry or RetryPolicy()
        self._metadata = call_metadata(
            address, token=token, tenant=tenant, is_encrypted=tls is not None, insecure=insecure
        )
        self._channel = (
            grpc.secure_channel(address, tls.credentials(), options=OPTIONS)
            if tls
            else grpc.insecure_channel(address, options=OPTIONS)
        )
        self._stubs = Stubs(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; calls in flight are cancelled."""
        self._channel.close()

    def generate(
        self,
        prompt: str | Iterable[int] | None = None,
        *,
        messages: Iterable[Message] | None = None,
        timeout: float | None = None,
        **arguments: Unpack[GenerateArguments],
    ) -> Stream:
        """Return the stream of a generation; it begins when it is first read."""
        request = generate_request(prompt, messages, arguments)
        return Stream(
            lambda left: self._stubs.inference.Generate(request, timeout=left, metadata=self._metadata),
            self.retry,
            timeout,
        )

    def complete(
        self,
        prompt: str | Iterable[int] | None = None,
        *,
        messages: Iterable[Message] | None = None,
        timeout: float | None = None,
        **arguments: Unpack[GenerateArguments],
    ) -> pb.CompleteResponse:
        """Return a generation whole."""
        request = generate_request(prompt, messages, arguments)
        return self._ask(self._stubs.inference.Complete, request, timeout)  # type: ignore[no-any-return]

    def tokenize(
        self, prompt: str, *, model: str = "", add_special: bool = True, with_pieces: bool = False
    ) -> pb.TokenizeResponse:
        """Return the token ids of a text."""
        request = tokenize_request(prompt, model, add_special=add_special, with_pieces=with_pieces)
        return self._ask(self._stubs.inference.Tokenize, request)  # type: ignore[no-any-return]

    def detokenize(self, ids: Sequence[int], *, model: str = "") -> str:
        """Return the text of token ids."""
        request = pb.DetokenizeRequest(model=model, token_ids=ids)
        return str((self._ask(self._stubs.inference.Detokenize, request)).text)

    def embed(self, inputs: list[str], *, model: str = "", dimensions: int | None = None) -> pb.EmbedResponse:
        """Return one vector for each input."""
        return self._ask(self._stubs.inference.Embed, embed_request(inputs, model, dimensions))  # type: ignore[no-any-return]

    def models(self) -> list[discovery_pb2.Model]:
        """Return the server's models, sorted by name."""
        return list((self._ask(self._stubs.discovery.ListModels, discovery_pb2.ListModelsRequest())).models)

    def model(self, name: str = "") -> discovery_pb2.Model:
        """Return one model."""
        answer = self._ask(self._stubs.discovery.GetModel, discovery_pb2.GetModelRequest(model=name))
        return answer.model  # type: ignore[no-any-return]

    def load(self, name: str = "") -> discovery_pb2.Load:
        """Return how busy a model is."""
        answer = self._ask(self._stubs.discovery.GetLoad, discovery_pb2.GetLoadRequest(model=name))
        return answer.load  # type: ignore[no-any-return]

    def is_serving(self, model: str = "") -> bool:
        """Tell whether a model, or the whole server for an empty name, answers requests."""
        stub: Any = health_pb2_grpc.HealthStub(self._channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(service=model), metadata=self._metadata)
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAVAILABLE):
                return False
            raise failure(error) from error
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def wait_serving(self, model: str = "", timeout: float = 60.0) -> None:
        """Return once the server answers requests. Raises `DeadlineExceeded`."""
        deadline = time.monotonic() + timeout
        while not self.is_serving(model):
            if time.monotonic() >= deadline:
                raise DeadlineExceeded(f"{model or 'the server'} at {self.address} did not serve within {timeout:g} s")
            time.sleep(0.1)

    def load_model(self, name: str) -> Iterator[admin_pb2.LoadModelResponse]:
        """Load a configured model; yield its progress."""
        yield from self._watch(self._stubs.admin.LoadModel, admin_pb2.LoadModelRequest(model=name))

    def unload_model(self, name: str) -> Iterator[admin_pb2.UnloadModelResponse]:
        """Unload a model; yield its progress."""
        yield from self._watch(self._stubs.admin.UnloadModel, admin_pb2.UnloadModelRequest(model=name))

    def register_adapter(
        self, name: str, source: str, *, model: str = "", expected_digest: str = "", **fields: Unpack[AdapterFields]
    ) -> admin_pb2.Adapter:
        """Make an adapter known."""
        request = admin_pb2.RegisterAdapterRequest(
            model=model, name=name, source=source, expected_digest=expected_digest, **fields
        )
        return (self._ask(self._stubs.admin.RegisterAdapter, request)).adapter  # type: ignore[no-any-return]

    def import_adapters(
        self, source: str, *, model: str = "", name_prefix: str = "", **fields: Unpack[AdapterFields]
    ) -> Iterator[admin_pb2.ImportAdaptersResponse]:
        """Register every adapter of a directory; yield what becomes of each, and in the end of all."""
        request = admin_pb2.ImportAdaptersRequest(model=model, source=source, name_prefix=name_prefix, **fields)
        yield from self._watch(self._stubs.admin.ImportAdapters, request)

    def adapter(self, name: str, *, model: str = "") -> admin_pb2.Adapter:
        """Return one adapter."""
        request = admin_pb2.GetAdapterRequest(model=model, name=name)
        return (self._ask(self._stubs.admin.GetAdapter, request)).adapter  # type: ignore[no-any-return]

    def adapters(
        self, *, model: str = "", page_size: int = MOST_IN_PAGE, **wanted: Unpack[AdapterFilter]
    ) -> Iterator[admin_pb2.Adapter]:
        """Yield the registered adapters by name, a page at a time."""
        request = admin_pb2.ListAdaptersRequest(model=model, page_size=page_size, **wanted)
        while True:
            page = self._ask(self._stubs.admin.ListAdapters, request)
            yield from page.adapters
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def watch_adapters(
        self, *, model: str = "", name_prefix: str = "", tenant: str = "", tags: Sequence[str] = ()
    ) -> Iterator[admin_pb2.WatchAdaptersResponse]:
        """Yield the adapters of now, then their changes."""
        request = admin_pb2.WatchAdaptersRequest(model=model, name_prefix=name_prefix, tenant=tenant, tags=tags)
        yield from self._watch(self._stubs.admin.WatchAdapters, request)

    def pin_adapter(self, name: str, *, model: str = "", pinned: bool = True) -> admin_pb2.Adapter:
        """Pin an adapter, or free it."""
        request = admin_pb2.PinAdapterRequest(model=model, name=name, pinned=pinned)
        return (self._ask(self._stubs.admin.PinAdapter, request)).adapter  # type: ignore[no-any-return]

    def load_adapter(self, name: str, *, model: str = "") -> admin_pb2.Adapter:
        """Bring an adapter onto the device."""
        request = admin_pb2.LoadAdapterRequest(model=model, name=name)
        return (self._ask(self._stubs.admin.LoadAdapter, request)).adapter  # type: ignore[no-any-return]

    def unload_adapter(self, name: str, *, model: str = "", forget: bool = False, allow_missing: bool = False) -> None:
        """Take an adapter off the device, and forget it if asked to."""
        request = admin_pb2.UnloadAdapterRequest(model=model, name=name, forget=forget, allow_missing=allow_missing)
        self._ask(self._stubs.admin.UnloadAdapter, request)

    def abort(self, request_id: str) -> None:
        """End a request in flight."""
        self._ask(self._stubs.admin.Abort, admin_pb2.AbortRequest(request_id=request_id))

    def drain(self) -> int:
        """Begin to drain the server; return the requests in flight."""
        return int((self._ask(self._stubs.admin.Drain, admin_pb2.DrainRequest())).in_flight)

    def _ask(self, method: Callable[..., Any], request: Any, timeout: float | None = None) -> Any:
        deadline = None if timeout is None else time.monotonic() + timeout
        attempt = 1
        while True:
            try:
                return method(request, timeout=_left(deadline), metadata=self._metadata)
            except grpc.RpcError as error:
                _pause(self.retry, failure(error), attempt, deadline)
                attempt += 1

    def _watch(self, method: Callable[..., Any], request: Any) -> Iterator[Any]:
        call = method(request, metadata=self._metadata)
        try:
            yield from call
        except grpc.RpcError as error:
            raise failure(error) from error
        finally:
            call.cancel()


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _pause(policy: RetryPolicy, error: BellhousingError, attempt: int, deadline: float | None) -> None:
    """Wait before the next attempt. Raises the error when there is none."""
    wait = policy.wait(error, attempt, deadline)
    if wait is None:
        raise error
    time.sleep(wait)
