"""Write the weights of a GGUF file of the Llama family as a Hugging Face directory. Run by `make engines`, inside
vLLM's environment: `python convert_model.py MODEL DIRECTORY`, with a model's source as in `bellhousing.toml`.

The tokenizer that transformers makes of this GGUF has the wrong end token and adds a first token, so what the file
says of them is written instead, and the round trip is checked.
"""

import sys
from pathlib import Path

import torch
from gguf import GGUFReader
from tokenizers import decoders, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from bellhousing.sources import resolve

PROBES = ("The capital of France is", "naïve café 12345\n\n  π≈3.14159 🙂", "<|im_start|>user\nHi<|im_end|>\n")


def main() -> int:
    """Convert; return the exit code."""
    source, target = resolve(sys.argv[1], lambda _: None), Path(sys.argv[2])
    target.mkdir(parents=True, exist_ok=True)
    convert_weights(source, target)
    convert_tokenizer(source, target)
    return 0


def convert_weights(source: Path, target: Path) -> None:
    """Write `model.safetensors` in bfloat16 and a `config.json` without quantisation."""
    loaded = AutoModelForCausalLM.from_pretrained(str(source.parent), gguf_file=source.name, dtype=torch.float32)
    config = loaded.config
    config.quantization_config = None
    del config.quantization_config
    end = end_token_id(source)
    config.eos_token_id, config.pad_token_id, config.bos_token_id = end, end, None
    plain = type(loaded)(config)
    plain.load_state_dict(loaded.state_dict())
    plain.generation_config.eos_token_id, plain.generation_config.pad_token_id = end, end
    plain.generation_config.bos_token_id = None
    plain.to(torch.bfloat16).save_pretrained(target)


def convert_tokenizer(source: Path, target: Path) -> None:
    """Write the tokenizer, its end token and chat template as the GGUF file has them."""
    made = AutoTokenizer.from_pretrained(str(source.parent), gguf_file=source.name)
    inner = made.backend_tokenizer
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    inner.decoder = decoders.ByteLevel()
    inner.post_processor = None
    inner.normalizer = None
    end = inner.id_to_token(end_token_id(source))
    fixed = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token=end, pad_token=end)
    fixed.chat_template = field_of(source, "tokenizer.chat_template")
    fixed.save_pretrained(target)
    for probe in PROBES:
        back = fixed.decode(fixed.encode(probe), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        if back != probe:
            raise SystemExit(f"{source}: the tokenizer does not keep {probe!r}, found {back!r}")


def field_of(source: Path, name: str) -> object:
    """Return the value of a field of the GGUF header."""
    field = GGUFReader(source).fields[name]
    return field.contents()


def end_token_id(source: Path) -> int:
    """Return the id of the end token."""
    return int(str(field_of(source, "tokenizer.ggml.eos_token_id")))


if __name__ == "__main__":
    sys.exit(main())
