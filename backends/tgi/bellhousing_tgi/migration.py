"""Launches of `text-generation-launcher`, read into the settings of this backend.

Each flag has a variable of the same name; where both are given the flag counts.
"""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from bellhousing.migration import (
    Command,
    Draft,
    Finding,
    Launch,
    Origin,
    Outcome,
    Rule,
    Shape,
    already,
    fixed,
    lost,
    split,
    stays,
    to,
)
from bellhousing.migration.conversions import bearer_tokens, host, model_source, port
from bellhousing.migration.findings import shown
from bellhousing.migration.rules import flag

PROGRAM = "text-generation-launcher"
IMAGE = "text-generation-inference"
IGNORED = "TGI itself ignores it where its shards chunk prefill"
ROUTER = "a limit of the router's API: the contract has its own"
OWN = "the server chooses it"
NO_TUNNEL = "no tunnel is opened"


def _sharded(value: str) -> Outcome:
    if flag(value):
        return Outcome(verdict="lost", reason="TGI took all GPUs: name their number in parallelism.tensor")
    return Outcome({"parallelism.tensor": 1})


def _cuda_graphs(value: str) -> Outcome:
    sizes = [int(size) for size in value.split(",")]
    return Outcome({"options.cuda_graphs": [] if sizes == [0] else sizes})


def _adapters(value: str) -> Outcome:
    pairs = [item.partition("=") for item in value.split(",")]
    unnamed = [name for name, _, path in pairs if not path]
    if unnamed:
        return Outcome(verdict="lost", reason="expected NAME=PATH for each: adapters of the hub are not fetched")
    return Outcome({"options.adapters": {name: path for name, _, path in pairs}})


RULES: Mapping[str, Rule] = {
    "NUM_SHARD": to("parallelism.tensor", int),
    "QUANTIZE": to("options.quantize"),
    "DTYPE": to("options.dtype"),
    "KV_CACHE_DTYPE": to("options.kv_cache_dtype"),
    "MAX_CONCURRENT_REQUESTS": to("options.max_concurrent_requests", int),
    "MAX_INPUT_TOKENS": to("options.max_input_tokens", int),
    "MAX_INPUT_LENGTH": to("options.max_input_tokens", int),
    "MAX_TOTAL_TOKENS": to("options.max_total_tokens", int),
    "MAX_BATCH_PREFILL_TOKENS": to("batching.max_batched_tokens", int),
    "MAX_BATCH_TOTAL_TOKENS": to("batching.max_total_tokens", int),
    "MAX_BATCH_SIZE": to("batching.max_sequences", int),
    "CUDA_MEMORY_FRACTION": to("options.cuda_memory_fraction", float),
    "CUDA_GRAPHS": _cuda_graphs,
    "LORA_ADAPTERS": _adapters,
    "PREFIX_CACHING": to("options.prefix_cache", flag),
    "PAYLOAD_LIMIT": to("server.max_message_bytes", int, "of a gRPC message"),
    "HOSTNAME": host,
    "PORT": port,
    "USAGE_STATS": already("nothing is reported home", "off", otherwise="nothing is ever reported home"),
    "TRUST_REMOTE_CODE": already("no code of a repository is run", "false", otherwise="no code of a repository is run"),
    "WAITING_SERVED_RATIO": lost(IGNORED),
    "MAX_WAITING_TOKENS": lost(IGNORED),
    "MAX_BEST_OF": lost(ROUTER),
    "MAX_STOP_SEQUENCES": lost(ROUTER),
    "MAX_TOP_N_TOKENS": lost(ROUTER),
    "MAX_CLIENT_BATCH_SIZE": lost(ROUTER),
    "ENABLE_PREFILL_LOGPROBS": lost("log probabilities of the prompt are not offered"),
    "DISABLE_GRAMMAR_SUPPORT": lost("clients need not use it"),
    "CORS_ALLOW_ORIGIN": lost("the HTTP server's: there is none here"),
    "TOKENIZER_CONFIG_PATH": lost("chats use the model's own template"),
    "JSON_OUTPUT": fixed(Outcome(verdict="changed", reason="start it as `bellhousing serve --json-logs`")),
    "VALIDATION_WORKERS": lost(OWN),
    "SHARD_UDS_PATH": lost(OWN),
    "MASTER_ADDR": lost(OWN),
    "MASTER_PORT": lost(OWN),
    "HUGGINGFACE_HUB_CACHE": lost("core fetches the model: HF_HOME chooses the place"),
    "WEIGHTS_CACHE_OVERRIDE": lost("core fetches the model: HF_HOME chooses the place"),
    **dict.fromkeys(("SPECULATE", "ROPE_SCALING", "ROPE_FACTOR", "DISABLE_CUSTOM_KERNELS"), lost("no setting for it")),
    **dict.fromkeys(("WATERMARK_GAMMA", "WATERMARK_DELTA"), lost("the contract has no watermarks")),
    **dict.fromkeys(("OTLP_ENDPOINT", "OTLP_SERVICE_NAME"), lost("traces are the server's own: see its plugins")),
    **dict.fromkeys(("NGROK", "NGROK_AUTHTOKEN", "NGROK_EDGE"), lost(NO_TUNNEL)),
    "ENV": already("only prints"),
}
"""What a flag or variable becomes, by the variable's name."""
COMBINED = frozenset({"MODEL_ID", "REVISION", "SHARDED", "API_KEY"})
SWITCHES = frozenset(
    {
        *("TRUST_REMOTE_CODE", "DISABLE_CUSTOM_KERNELS", "JSON_OUTPUT", "NGROK", "DISABLE_GRAMMAR_SUPPORT"),
        *("ENV", "ENABLE_PREFILL_LOGPROBS"),
    }
)
INHERITED: Mapping[str, Rule] = dict.fromkeys(
    ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HOME", "HF_ENDPOINT", "CUDA_VISIBLE_DEVICES"), stays()
)
SHORT: Mapping[str, str] = {"-p": "PORT", "-e": "ENV"}


def read(launch: Launch, draft: Draft) -> None:
    """Put a launch into the draft."""
    given: dict[str, tuple[str, str]] = {}
    command = Command(())
    for found in launch.commands:
        words = _arguments(found)
        if words is None:
            draft.note(Finding(found.words[0] if found.words else found.image, "unknown", reason="no command of TGI"))
            continue
        command = found
        _flags(words, given, draft)
    for name, value in launch.environment.items():
        if name in given:
            draft.note(Finding(shown(name, value, "="), "kept", reason=f"{given[name][0]} counts, as in TGI"))
        elif name in RULES or name in COMBINED:
            given[name] = (name, value)
        else:
            draft.take(name, value, _other(name, launch), separator="=")
    _combined(draft, given, command)
    for name, (label, value) in given.items():
        if name in RULES:
            draft.take(label, value, RULES[name], separator="=" if label == name else " ")


def _arguments(command: Command) -> Sequence[str] | None:
    words = command.words
    if words and PurePosixPath(words[0]).name == PROGRAM:
        return words[1:]
    return words if IMAGE in command.image and (not words or words[0].startswith("-")) else None


def _flags(words: Sequence[str], given: dict[str, tuple[str, str]], draft: Draft) -> None:
    for found in split(words, _shape):
        name = _variable_of(found.name)
        value = found.value or "true" * (name in SWITCHES)
        if not found.name or (name not in RULES and name not in COMBINED):
            draft.note(Finding(found.name or "(a word)", "unknown", reason="no flag of TGI 3.3"))
        elif name in given:
            draft.note(Finding(shown(found.name, value), "lost", reason="given twice, which TGI refuses"))
        else:
            given[name] = (found.name, value)


def _shape(name: str) -> Shape | None:
    variable = _variable_of(name)
    if variable in SWITCHES:
        return "switch"
    return "one" if variable in RULES or variable in COMBINED else None


def _variable_of(name: str) -> str:
    return SHORT.get(name) or name.removeprefix("--").replace("-", "_").upper()


def _other(name: str, launch: Launch) -> Rule:
    if name in INHERITED:
        return INHERITED[name]
    reason, verdict = ("used in the command", "kept") if name in launch.used else ("no variable of TGI 3.3", "unknown")
    return fixed(Outcome(reason=reason) if verdict == "kept" else Outcome(verdict="unknown", reason=reason))


def _combined(draft: Draft, given: Mapping[str, tuple[str, str]], command: Command) -> None:
    """Take what means something only together with something else."""
    revision = given.get("REVISION", ("", ""))[1]
    rules = {
        "MODEL_ID": model_source(command.host_path, revision),
        "REVISION": fixed(Outcome(reason="in the model")),
        "SHARDED": _sharded,
        "API_KEY": bearer_tokens([given["API_KEY"][1]] if "API_KEY" in given else []),
    }
    if "NUM_SHARD" in given:
        rules["SHARDED"] = already(
            "NUM_SHARD says how many", "true", otherwise="sharded = false beside a number of shards"
        )
    for name, rule in rules.items():
        if name in given:
            label, value = given[name]
            is_lost = name == "REVISION" and not str(draft.setting("model")).startswith("hf://")
            draft.take(label, value, lost("no hub model") if is_lost else rule, separator="=" if label == name else " ")


ORIGIN = Origin(
    name="tgi",
    backend="tgi",
    reads="a `text-generation-launcher` or `docker run` command, and variables of its environment",
    read=read,
)
