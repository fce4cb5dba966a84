"""The environment of `ollama serve`, and Modelfiles, read into the settings of this backend."""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from bellhousing.migration import (
    Command,
    Draft,
    Finding,
    Launch,
    Origin,
    Outcome,
    Rule,
    already,
    fixed,
    lost,
    stays,
    to,
)
from bellhousing.migration.conversions import host, port
from bellhousing.migration.rules import flag

INSTRUCTIONS = (
    "FROM",
    "PARAMETER",
    "TEMPLATE",
    "SYSTEM",
    "ADAPTER",
    "MESSAGE",
    "LICENSE",
    "REQUIRES",
    "RENDERER",
    "PARSER",
)
INSTRUCTION = re.compile(rf"^\s*({'|'.join(INSTRUCTIONS)})\s+", re.IGNORECASE)
CONTEXT_UNIT = 256
"""Ollama pads a context to a multiple of it, and the backend takes no other."""
SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")


def _context(value: str) -> Outcome:
    asked = int(value)
    padded = -(-asked // CONTEXT_UNIT) * CONTEXT_UNIT
    reason = "" if padded == asked else f"a multiple of {CONTEXT_UNIT}, to which Ollama pads it too"
    return Outcome({"options.context_per_sequence": padded}, "changed" if reason else "kept", reason)


def _flash_attention(value: str) -> Outcome:
    return Outcome({"options.flash_attention": "on" if flag(value) else "off"})


def _spread(value: str) -> Outcome:
    if not flag(value):
        return Outcome(reason="not spread unless parallelism.pipeline says so")
    return Outcome(verdict="lost", reason="name the number of GPUs in parallelism.pipeline")


def _keep_alive(value: str) -> Outcome:
    reason = "a model stays loaded until Admin.UnloadModel"
    return Outcome(verdict="kept" if value.startswith("-") else "lost", reason=reason)


def _seconds(value: str) -> float:
    parts = DURATION.findall(value)
    if not parts or "".join(map("".join, parts)) != value:
        raise ValueError("expected a duration such as 5m or 1h30m")
    return sum(float(number) * SECONDS[unit] for number, unit in parts)


VARIABLES: Mapping[str, Rule] = {
    "OLLAMA_NUM_PARALLEL": to("batching.max_sequences", int),
    "OLLAMA_MAX_QUEUE": to("admission.max_queued", int, "it bounds all requests that wait, not only for a load"),
    "OLLAMA_CONTEXT_LENGTH": _context,
    "OLLAMA_FLASH_ATTENTION": _flash_attention,
    "OLLAMA_KV_CACHE_TYPE": to("options.kv_cache_type"),
    "OLLAMA_SCHED_SPREAD": _spread,
    "OLLAMA_MODELS": to("options.store", str, "no other server may use it at the same time"),
    "OLLAMA_LOAD_TIMEOUT": to("options.load_seconds", _seconds),
    "OLLAMA_KEEP_ALIVE": _keep_alive,
    "OLLAMA_MAX_LOADED_MODELS": lost("each model is an entry of its own in the file, and stays loaded"),
    "OLLAMA_NO_CLOUD": already("always so", "1", "true", otherwise="nothing leaves this machine"),
    "OLLAMA_NOPRUNE": lost("the store is this server's own"),
    "OLLAMA_ORIGINS": lost("the HTTP server's: there is none here"),
    "OLLAMA_DEBUG": lost("start it as `bellhousing serve --log-level debug`"),
    "OLLAMA_GO_TEMPLATE": already("chats use the template of the model's file", "0", otherwise="always the file's own"),
    "OLLAMA_GPU_OVERHEAD": lost("no setting for it"),
    "OLLAMA_LLM_LIBRARY": lost("no setting for it"),
    "OLLAMA_INTEL_GPU": lost("no setting for it"),
    "OLLAMA_NOHISTORY": already("the server keeps no history"),
    **dict.fromkeys(("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"), stays()),
    **dict.fromkeys(("GPU_DEVICE_ORDINAL", "HSA_OVERRIDE_GFX_VERSION"), stays()),
    **dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"), stays("used when Ollama pulls")),
}
CLIENTS: Mapping[str, str] = {
    "temperature": "sampling.temperature",
    "top_k": "sampling.top_k",
    "top_p": "sampling.top_p",
    "min_p": "sampling.min_p",
    "typical_p": "sampling.typical_p",
    "repeat_penalty": "sampling.repetition_penalty",
    "presence_penalty": "sampling.presence_penalty",
    "frequency_penalty": "sampling.frequency_penalty",
    "seed": "sampling.seed",
    "num_predict": "sampling.max_tokens",
    "stop": "stopping.strings",
}
"""Parameters that requests carry, by the field of the contract."""
PARAMETERS: Mapping[str, Rule] = {
    "num_ctx": _context,
    "num_thread": to("options.threads", int),
    "num_gpu": to("options.gpu_layers", int),
    "num_batch": to("batching.max_batched_tokens", int),
    **{name: lost(f"clients send it: {field}") for name, field in CLIENTS.items()},
}


def is_modelfile(text: str) -> bool:
    """Tell whether a text is a Modelfile: its first instruction is one."""
    lines = (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    return INSTRUCTION.match(next(lines, "")) is not None


def read(launch: Launch, draft: Draft) -> None:
    """Put a launch into the draft."""
    for text in launch.documents:
        for instruction, value in instructions(text):
            _instruction(draft, instruction, value)
    for command in launch.commands:
        _command(draft, command)
    for name, value in launch.environment.items():
        if name == "OLLAMA_HOST":
            _address(draft, value)
        elif name in launch.used and name not in VARIABLES:
            draft.take(name, value, fixed(Outcome(reason="used in the command")), separator="=")
        else:
            unknown = fixed(Outcome(verdict="unknown", reason="no variable of Ollama 0.34"))
            draft.take(name, value, VARIABLES.get(name, unknown), separator="=")


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Yield a Modelfile's instructions with their values; a value in triple quotes may have many lines."""
    lines = iter(text.splitlines())
    for line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = INSTRUCTION.match(line)
        if not found:
            yield "", line.strip()
            continue
        value = line[found.end() :].strip()
        opening, quotes, rest = value.partition('"""')
        if quotes and '"""' not in rest:
            for further in lines:
                rest += "\n" + further
                if '"""' in further:
                    break
        yield found[1].upper(), opening + rest.partition('"""')[0] if quotes else value


def _instruction(draft: Draft, instruction: str, value: str) -> None:
    texts = {
        "TEMPLATE": lost("chats use the template of the model's file"),
        "SYSTEM": lost("clients send it as the first message of a chat"),
        "MESSAGE": lost("clients send it with their chats"),
        "LICENSE": already("says nothing of serving"),
        "REQUIRES": already("`bellhousing doctor` tells the version"),
        "RENDERER": lost("chats use the template of the model's file"),
        "PARSER": lost("the contract returns the text as it is"),
    }
    if instruction in texts:  # their values are prompts: never shown
        draft.add(instruction, texts[instruction](value))
    elif instruction == "FROM":
        draft.take("FROM", value, _model)
    elif instruction == "ADAPTER":
        draft.take("ADAPTER", value, _adapter)
    elif instruction == "PARAMETER":
        name, _, argument = value.partition(" ")
        unknown = lost("the contract has no such field")
        draft.take(f"PARAMETER {name}", argument.strip().strip('"'), PARAMETERS.get(name, unknown))
    else:
        draft.note(Finding("(a line)", "unknown", reason="no instruction of a Modelfile"))


def _model(text: str) -> Outcome:
    if text.startswith(("/", "./", "../", "~")) or text.endswith(".gguf"):
        return Outcome({"model": text})
    return Outcome({"options.pull": text, "name": text}, "changed", "Ollama pulls it from its registry")


def _adapter(text: str) -> Outcome:
    path = PurePosixPath(text)
    if not path.is_absolute():
        return Outcome(verdict="lost", reason="expected an absolute path: register it by Admin.RegisterAdapter")
    told = "requests name it: register it by Admin.RegisterAdapter"
    return Outcome({"adapter_roots": [str(path.parent)], "options.adapters": 1}, "changed", told)


def _command(draft: Draft, command: Command) -> None:
    words = list(command.words)
    if words and PurePosixPath(words[0]).name == "ollama":
        words = words[1:]
    elif not (PurePosixPath(command.image.partition(":")[0]).name == "ollama" and words in ([], ["serve"])):
        draft.note(Finding(words[0] if words else command.image, "unknown", reason="no command of Ollama"))
        return
    action, *rest = words or ["serve"]
    names = [word for word in rest if not word.startswith("-")]
    if action in {"run", "pull"} and names:
        draft.take(f"ollama {action}", names[0], _model)
        rest.remove(names[0])
    elif action != "serve":
        draft.note(Finding(f"ollama {action}", "unknown", reason="expected ollama serve, run or pull"))
        return
    if rest:
        draft.note(Finding(f"ollama {action}: {len(rest)} more words", "lost", reason="flags of the client"))


def _address(draft: Draft, value: str) -> None:
    """Take OLLAMA_HOST: `[http://]HOST[:PORT]`."""
    address = value.partition("://")[2] or value
    name, _, number = address.rstrip("/").rpartition(":") if ":" in address else (address, "", "")
    if name:
        draft.take("OLLAMA_HOST", name, host, separator="=")
    if number:
        draft.take("OLLAMA_HOST (port)", number, port, separator="=")


ORIGIN = Origin(
    name="ollama",
    backend="ollama",
    reads="variables of the environment of `ollama serve`, `ollama run NAME`, and a Modelfile",
    read=read,
    is_document=is_modelfile,
)
