"""From settings to Ollama's environment and options, and the store."""

from pathlib import Path
from typing import Any

import pytest

from bellhousing.errors import ConfigurationError
from bellhousing.settings import EngineSettings, ModelSpec
from bellhousing_ollama import OllamaBackend, OllamaOptions
from bellhousing_ollama.plugin import judged
from bellhousing_ollama.serve import check_version, found_executable, serve_environment
from bellhousing_ollama.shape import Shape, shape_of
from bellhousing_ollama.store import Store

TRAINED = 8192


def shaped(settings: dict[str, Any], trained: int = TRAINED, **options: Any) -> Shape:
    return shape_of(EngineSettings.model_validate(settings), OllamaOptions(**options), trained)


def environment(settings: dict[str, Any] | None = None, ours: dict[str, str] | None = None, **options: Any) -> Any:
    chosen = OllamaOptions(**options)
    return serve_environment(ours or {}, chosen, shaped(settings or {}, **options), Path("/store"), 4321)


class TestShape:
    @pytest.mark.parametrize(
        ("settings", "options", "expected"),
        [
            ({}, {}, Shape(4, 4096, 512)),
            ({}, {"gpu_layers": 0}, Shape(4, 4096, 128)),
            ({"batching": {"max_batched_tokens": 256}}, {"gpu_layers": 0}, Shape(4, 4096, 256)),
            ({"batching": {"max_sequences": 2}}, {"context_per_sequence": 512}, Shape(2, 512, 512)),
            ({"batching": {"max_sequences": 3, "max_total_tokens": 3000}}, {}, Shape(3, 768, 512)),
            ({"batching": {"max_total_tokens": 1 << 20}}, {}, Shape(4, TRAINED, 512)),
            ({"batching": {"max_batched_tokens": 64}, "parallelism": {"pipeline": 2}}, {}, Shape(4, 4096, 64, 2)),
        ],
    )
    def test_settings_become_slots_and_shares(self, settings: Any, options: Any, expected: Shape) -> None:
        assert shaped(settings, **options) == expected

    def test_no_more_is_given_than_the_model_was_trained_for(self) -> None:
        assert shaped({}, trained=1000).context_per_sequence == 768

    def test_a_model_that_does_not_tell_gets_what_is_asked_for(self) -> None:
        assert shaped({}, trained=0, context_per_sequence=65536).context_per_sequence == 65536
        assert shaped({}, trained=0).context_per_sequence == 4096

    @pytest.mark.parametrize(
        ("settings", "options", "message"),
        [
            ({"parallelism": {"tensor": 2}}, {}, "parallelism.tensor: expected 1"),
            ({"parallelism": {"data": 2}}, {}, "parallelism.data: expected 1"),
            ({"batching": {"max_total_tokens": 500}}, {}, "expected at least 1024"),
            ({}, {"context_per_sequence": 16384}, "expected at most the model's 8192, found 16384"),
            ({"batching": {"max_total_tokens": 1024}}, {"context_per_sequence": 512}, "the share of 256 tokens"),
        ],
    )
    def test_what_ollama_cannot_do_is_refused(self, settings: Any, options: Any, message: str) -> None:
        with pytest.raises(ConfigurationError, match=message):
            shaped(settings, **options)


class TestEnvironment:
    def test_settings_have_ollamas_names(self) -> None:
        found = environment(
            {"batching": {"max_sequences": 3}, "parallelism": {"pipeline": 2}}, adapters=2, flash_attention="off"
        )
        wanted = {
            "OLLAMA_HOST": "127.0.0.1:4321",
            "OLLAMA_NUM_PARALLEL": "3",
            "OLLAMA_CONTEXT_LENGTH": "4096",
            "OLLAMA_MAX_LOADED_MODELS": "3",
            "OLLAMA_SCHED_SPREAD": "1",
            "OLLAMA_FLASH_ATTENTION": "0",
            "OLLAMA_KV_CACHE_TYPE": "f16",
            "OLLAMA_NO_CLOUD": "1",
            "OLLAMA_GO_TEMPLATE": "0",
            "HOME": "/store",
        }
        assert {name: found[name] for name in wanted} == wanted

    def test_only_what_is_asked_for_is_set(self) -> None:
        assert not {"OLLAMA_SCHED_SPREAD", "OLLAMA_FLASH_ATTENTION"} & environment().keys()

    def test_variables_of_ollama_around_us_do_not_reach_it_and_others_do(self) -> None:
        found = environment(ours={"OLLAMA_ORIGINS": "*", "OLLAMA_HOST": "0.0.0.0", "CUDA_VISIBLE_DEVICES": "1"})
        assert "OLLAMA_ORIGINS" not in found
        assert found["OLLAMA_HOST"] == "127.0.0.1:4321"
        assert found["CUDA_VISIBLE_DEVICES"] == "1"


class TestStart:
    @pytest.mark.parametrize("version", ["", "0.0.0", "0.33.1", "unknown"])
    def test_an_old_or_unknown_version_is_refused(self, version: str) -> None:
        with pytest.raises(ConfigurationError, match=r"0.34 or later"):
            check_version(version)

    @pytest.mark.parametrize("version", ["0.34.0", "0.35.0-rc1", "1.0.0"])
    def test_a_later_version_is_taken(self, version: str) -> None:
        check_version(version)

    def test_a_missing_command_is_told(self) -> None:
        with pytest.raises(ConfigurationError, match="found none at 'no-such-ollama'"):
            found_executable("no-such-ollama")

    @pytest.mark.parametrize(("path", "pull"), [(None, ""), (Path("/x.gguf"), "m")])
    async def test_either_a_file_or_a_name_must_be_given(self, path: Path | None, pull: str) -> None:
        backend = OllamaBackend(ModelSpec(name="m", path=path), OllamaOptions(pull=pull))
        with pytest.raises(ConfigurationError, match="expected either a GGUF file or a name to pull"):
            await backend.start(lambda _: None)
        await backend.stop()


class TestStore:
    def test_one_server_alone_has_it(self, tmp_path: Path) -> None:
        store = Store.open(tmp_path, "m")
        with pytest.raises(ConfigurationError, match="in use by another server"):
            Store.open(tmp_path, "m")
        store.close()
        Store.open(tmp_path, "m").close()

    def test_without_a_wish_each_server_gets_its_own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        stores = [Store.open(None, "m") for _ in range(2)]
        assert [store.path.name for store in stores] == ["1", "2"]
        for store in stores:
            store.close()

    def test_what_a_broken_pull_left_is_deleted_and_nothing_else(self, tmp_path: Path) -> None:
        store = Store.open(tmp_path, "m")
        (tmp_path / "blobs").mkdir()
        for name in ("sha256-aa", "sha256-bb-partial", "sha256-bb-partial-0"):
            (tmp_path / "blobs" / name).touch()
        store.forget_partials()
        store.close()
        assert [file.name for file in (tmp_path / "blobs").iterdir()] == ["sha256-aa"]

    def test_a_place_that_cannot_be_written_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(ConfigurationError, match="expected a directory that can be written"):
            Store.open(tmp_path / "file" / "store", "m")


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ("ollama version is 0.34.0", "ok"),
        ("Warning: could not connect\nWarning: client version is 0.35.2", "warning"),
        ("ollama version is 0.20.0", "wrong"),
        ("Segmentation fault", "wrong"),
    ],
)
def test_doctor_judges_the_version(said: str, verdict: str) -> None:
    assert judged("/usr/bin/ollama", said).verdict == verdict
