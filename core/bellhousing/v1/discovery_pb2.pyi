from bellhousing.v1 import inference_pb2 as _inference_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ModelState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODEL_STATE_UNSPECIFIED: _ClassVar[ModelState]
    MODEL_STATE_UNLOADED: _ClassVar[ModelState]
    MODEL_STATE_LOADING: _ClassVar[ModelState]
    MODEL_STATE_SERVING: _ClassVar[ModelState]
    MODEL_STATE_DRAINING: _ClassVar[ModelState]
    MODEL_STATE_RESTARTING: _ClassVar[ModelState]
    MODEL_STATE_FAILED: _ClassVar[ModelState]
    MODEL_STATE_SLEEPING: _ClassVar[ModelState]

class AdapterSupport(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ADAPTER_SUPPORT_UNSPECIFIED: _ClassVar[AdapterSupport]
    ADAPTER_SUPPORT_NONE: _ClassVar[AdapterSupport]
    ADAPTER_SUPPORT_STATIC: _ClassVar[AdapterSupport]
    ADAPTER_SUPPORT_DYNAMIC: _ClassVar[AdapterSupport]
    ADAPTER_SUPPORT_DERIVED: _ClassVar[AdapterSupport]

class Determinism(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DETERMINISM_UNSPECIFIED: _ClassVar[Determinism]
    DETERMINISM_NONE: _ClassVar[Determinism]
    DETERMINISM_SOLO: _ClassVar[Determinism]
    DETERMINISM_BATCH_INVARIANT: _ClassVar[Determinism]

class LogprobsMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LOGPROBS_MODE_UNSPECIFIED: _ClassVar[LogprobsMode]
    LOGPROBS_MODE_RAW: _ClassVar[LogprobsMode]
    LOGPROBS_MODE_PROCESSED: _ClassVar[LogprobsMode]
MODEL_STATE_UNSPECIFIED: ModelState
MODEL_STATE_UNLOADED: ModelState
MODEL_STATE_LOADING: ModelState
MODEL_STATE_SERVING: ModelState
MODEL_STATE_DRAINING: ModelState
MODEL_STATE_RESTARTING: ModelState
MODEL_STATE_FAILED: ModelState
MODEL_STATE_SLEEPING: ModelState
ADAPTER_SUPPORT_UNSPECIFIED: AdapterSupport
ADAPTER_SUPPORT_NONE: AdapterSupport
ADAPTER_SUPPORT_STATIC: AdapterSupport
ADAPTER_SUPPORT_DYNAMIC: AdapterSupport
ADAPTER_SUPPORT_DERIVED: AdapterSupport
DETERMINISM_UNSPECIFIED: Determinism
DETERMINISM_NONE: Determinism
DETERMINISM_SOLO: Determinism
DETERMINISM_BATCH_INVARIANT: Determinism
LOGPROBS_MODE_UNSPECIFIED: LogprobsMode
LOGPROBS_MODE_RAW: LogprobsMode
LOGPROBS_MODE_PROCESSED: LogprobsMode

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models", "server_version", "contract_version")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    CONTRACT_VERSION_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    server_version: str
    contract_version: str
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ..., server_version: _Optional[str] = ..., contract_version: _Optional[str] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "state", "state_detail", "backend", "backend_version", "engine", "engine_version", "instance_id", "model_digest", "tokenizer_digest", "precision", "context_length", "vocabulary_size", "capabilities", "defaults", "settings", "parallelism", "eos_token_ids")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STATE_DETAIL_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    BACKEND_VERSION_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    ENGINE_VERSION_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_LENGTH_FIELD_NUMBER: _ClassVar[int]
    VOCABULARY_SIZE_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    DEFAULTS_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    PARALLELISM_FIELD_NUMBER: _ClassVar[int]
    EOS_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: ModelState
    state_detail: str
    backend: str
    backend_version: str
    engine: str
    engine_version: str
    instance_id: str
    model_digest: str
    tokenizer_digest: str
    precision: str
    context_length: int
    vocabulary_size: int
    capabilities: Capabilities
    defaults: _inference_pb2.Sampling
    settings: _containers.RepeatedCompositeFieldContainer[Setting]
    parallelism: Parallelism
    eos_token_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, name: _Optional[str] = ..., state: _Optional[_Union[ModelState, str]] = ..., state_detail: _Optional[str] = ..., backend: _Optional[str] = ..., backend_version: _Optional[str] = ..., engine: _Optional[str] = ..., engine_version: _Optional[str] = ..., instance_id: _Optional[str] = ..., model_digest: _Optional[str] = ..., tokenizer_digest: _Optional[str] = ..., precision: _Optional[str] = ..., context_length: _Optional[int] = ..., vocabulary_size: _Optional[int] = ..., capabilities: _Optional[_Union[Capabilities, _Mapping]] = ..., defaults: _Optional[_Union[_inference_pb2.Sampling, _Mapping]] = ..., settings: _Optional[_Iterable[_Union[Setting, _Mapping]]] = ..., parallelism: _Optional[_Union[Parallelism, _Mapping]] = ..., eos_token_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class Capabilities(_message.Message):
    __slots__ = ("parameters", "token_ids", "tokenize", "detokenize", "embed", "adapters", "sleep", "determinism", "logprobs_mode", "grammar_syntax", "prefix_cache", "joined_characters")
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    TOKENIZE_FIELD_NUMBER: _ClassVar[int]
    DETOKENIZE_FIELD_NUMBER: _ClassVar[int]
    EMBED_FIELD_NUMBER: _ClassVar[int]
    ADAPTERS_FIELD_NUMBER: _ClassVar[int]
    SLEEP_FIELD_NUMBER: _ClassVar[int]
    DETERMINISM_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_MODE_FIELD_NUMBER: _ClassVar[int]
    GRAMMAR_SYNTAX_FIELD_NUMBER: _ClassVar[int]
    PREFIX_CACHE_FIELD_NUMBER: _ClassVar[int]
    JOINED_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    parameters: _containers.RepeatedCompositeFieldContainer[ParameterCapability]
    token_ids: bool
    tokenize: bool
    detokenize: bool
    embed: bool
    adapters: AdapterSupport
    sleep: bool
    determinism: Determinism
    logprobs_mode: LogprobsMode
    grammar_syntax: str
    prefix_cache: bool
    joined_characters: bool
    def __init__(self, parameters: _Optional[_Iterable[_Union[ParameterCapability, _Mapping]]] = ..., token_ids: bool = ..., tokenize: bool = ..., detokenize: bool = ..., embed: bool = ..., adapters: _Optional[_Union[AdapterSupport, str]] = ..., sleep: bool = ..., determinism: _Optional[_Union[Determinism, str]] = ..., logprobs_mode: _Optional[_Union[LogprobsMode, str]] = ..., grammar_syntax: _Optional[str] = ..., prefix_cache: bool = ..., joined_characters: bool = ...) -> None: ...

class ParameterCapability(_message.Message):
    __slots__ = ("field", "minimum", "maximum", "exclusive_minimum", "exclusive_maximum", "max_items", "by_server")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_FIELD_NUMBER: _ClassVar[int]
    EXCLUSIVE_MINIMUM_FIELD_NUMBER: _ClassVar[int]
    EXCLUSIVE_MAXIMUM_FIELD_NUMBER: _ClassVar[int]
    MAX_ITEMS_FIELD_NUMBER: _ClassVar[int]
    BY_SERVER_FIELD_NUMBER: _ClassVar[int]
    field: str
    minimum: float
    maximum: float
    exclusive_minimum: bool
    exclusive_maximum: bool
    max_items: int
    by_server: bool
    def __init__(self, field: _Optional[str] = ..., minimum: _Optional[float] = ..., maximum: _Optional[float] = ..., exclusive_minimum: bool = ..., exclusive_maximum: bool = ..., max_items: _Optional[int] = ..., by_server: bool = ...) -> None: ...

class Setting(_message.Message):
    __slots__ = ("name", "requested", "effective", "reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    requested: str
    effective: str
    reason: str
    def __init__(self, name: _Optional[str] = ..., requested: _Optional[str] = ..., effective: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class Parallelism(_message.Message):
    __slots__ = ("tensor_requested", "tensor_effective", "pipeline_requested", "pipeline_effective", "data_requested", "data_effective", "devices")
    TENSOR_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    TENSOR_EFFECTIVE_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_EFFECTIVE_FIELD_NUMBER: _ClassVar[int]
    DATA_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    DATA_EFFECTIVE_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    tensor_requested: int
    tensor_effective: int
    pipeline_requested: int
    pipeline_effective: int
    data_requested: int
    data_effective: int
    devices: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, tensor_requested: _Optional[int] = ..., tensor_effective: _Optional[int] = ..., pipeline_requested: _Optional[int] = ..., pipeline_effective: _Optional[int] = ..., data_requested: _Optional[int] = ..., data_effective: _Optional[int] = ..., devices: _Optional[_Iterable[str]] = ...) -> None: ...

class GetLoadRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class GetLoadResponse(_message.Message):
    __slots__ = ("load",)
    LOAD_FIELD_NUMBER: _ClassVar[int]
    load: Load
    def __init__(self, load: _Optional[_Union[Load, _Mapping]] = ...) -> None: ...

class WatchLoadRequest(_message.Message):
    __slots__ = ("model", "interval")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    model: str
    interval: _duration_pb2.Duration
    def __init__(self, model: _Optional[str] = ..., interval: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class WatchLoadResponse(_message.Message):
    __slots__ = ("load",)
    LOAD_FIELD_NUMBER: _ClassVar[int]
    load: Load
    def __init__(self, load: _Optional[_Union[Load, _Mapping]] = ...) -> None: ...

class Load(_message.Message):
    __slots__ = ("model", "state", "queued", "queued_tokens", "running", "max_running", "tokens_in_flight", "engine_waiting", "kv_cache_usage", "prefix_cache_queries", "prefix_cache_hits", "resident_adapters", "drain_rate", "speculative_acceptance", "engine_running", "waiting_adapters", "adapter_slots")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    QUEUED_FIELD_NUMBER: _ClassVar[int]
    QUEUED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    MAX_RUNNING_FIELD_NUMBER: _ClassVar[int]
    TOKENS_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    ENGINE_WAITING_FIELD_NUMBER: _ClassVar[int]
    KV_CACHE_USAGE_FIELD_NUMBER: _ClassVar[int]
    PREFIX_CACHE_QUERIES_FIELD_NUMBER: _ClassVar[int]
    PREFIX_CACHE_HITS_FIELD_NUMBER: _ClassVar[int]
    RESIDENT_ADAPTERS_FIELD_NUMBER: _ClassVar[int]
    DRAIN_RATE_FIELD_NUMBER: _ClassVar[int]
    SPECULATIVE_ACCEPTANCE_FIELD_NUMBER: _ClassVar[int]
    ENGINE_RUNNING_FIELD_NUMBER: _ClassVar[int]
    WAITING_ADAPTERS_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_SLOTS_FIELD_NUMBER: _ClassVar[int]
    model: str
    state: ModelState
    queued: int
    queued_tokens: int
    running: int
    max_running: int
    tokens_in_flight: int
    engine_waiting: int
    kv_cache_usage: float
    prefix_cache_queries: int
    prefix_cache_hits: int
    resident_adapters: _containers.RepeatedScalarFieldContainer[str]
    drain_rate: float
    speculative_acceptance: float
    engine_running: int
    waiting_adapters: _containers.RepeatedScalarFieldContainer[str]
    adapter_slots: int
    def __init__(self, model: _Optional[str] = ..., state: _Optional[_Union[ModelState, str]] = ..., queued: _Optional[int] = ..., queued_tokens: _Optional[int] = ..., running: _Optional[int] = ..., max_running: _Optional[int] = ..., tokens_in_flight: _Optional[int] = ..., engine_waiting: _Optional[int] = ..., kv_cache_usage: _Optional[float] = ..., prefix_cache_queries: _Optional[int] = ..., prefix_cache_hits: _Optional[int] = ..., resident_adapters: _Optional[_Iterable[str]] = ..., drain_rate: _Optional[float] = ..., speculative_acceptance: _Optional[float] = ..., engine_running: _Optional[int] = ..., waiting_adapters: _Optional[_Iterable[str]] = ..., adapter_slots: _Optional[int] = ...) -> None: ...
