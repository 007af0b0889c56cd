"""Which providers the environment and the catalogue file make known."""

from pathlib import Path

import pytest

from services.mesh.errors import FailedPrecondition, InvalidArgument
from services.model import settings as module
from services.model.settings import ModelSettings

VARIABLES = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "SOMA_CONFIG")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the machine's own environment counts."""
    monkeypatch.chdir(tmp_path)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def names(settings: ModelSettings) -> list[str]:
    return [entry.name for entry in settings.providers()[1]]


def test_a_bare_machine_only_looks_for_ollama() -> None:
    _, (ollama,) = ModelSettings().providers()
    assert (ollama.name, ollama.base_url, ollama.optional) == ("ollama", "http://127.0.0.1:11434/v1", True)


def test_keys_in_the_environment_make_their_vendors_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-2")
    _, (openai, anthropic, _) = ModelSettings().providers()
    assert (openai.kind, openai.base_url) == ("openai", "https://api.openai.com/v1")
    assert openai.api_key.get_secret_value() == "sk-1"
    assert (anthropic.kind, anthropic.base_url) == ("anthropic", "https://api.anthropic.com")


def test_another_base_url_needs_no_key_and_is_not_openais_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1")
    _, (openai, _) = ModelSettings().providers()
    assert (openai.kind, openai.base_url) == ("openai_compatible", "http://127.0.0.1:8000/v1")


@pytest.mark.parametrize("url", ["http://", "https:///v1", "127.0.0.1:8000", "ftp://example.com", "http://a b/v1"])
def test_where_a_provider_is_must_be_a_url(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for name in ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "SOMA_MODEL_OLLAMA_URL"):
        with monkeypatch.context() as patch, pytest.raises(InvalidArgument, match=r"(?i)url"):
            patch.setenv(name, url)
            ModelSettings()


def test_a_secret_does_not_show_when_settings_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    settings = ModelSettings()
    assert "sk-very-secret" not in f"{settings!r} {settings.providers()!r} {settings.model_dump_json()}"


def test_the_example_catalogue_is_valid_and_comes_before_what_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    example = Path(module.__file__).with_name("catalogue.example.toml")
    default, entries = ModelSettings(catalogue=example).providers()
    assert default == "gpt-5-mini"
    assert [entry.name for entry in entries] == ["openai", "anthropic", "vllm", "ollama"]
    assert entries[0].api_key.get_secret_value() == "sk-1"
    assert entries[0].models == ("gpt-5-mini", "gpt-5")


def test_a_default_from_the_environment_goes_before_the_files(tmp_path: Path) -> None:
    file = tmp_path / "catalogue.toml"
    file.write_text('default = "a"\n')
    assert ModelSettings(catalogue=file, default="b").providers()[0] == "b"
    assert ModelSettings(catalogue=file).providers()[0] == "a"


@pytest.mark.parametrize(
    "content",
    [
        "not toml",
        "unknown = 1",
        '[[provider]]\nname = "x"\nbase_url = "ftp://x"',
        '[[provider]]\nname = "x"\nbase_url = "http://x"\n[[provider]]\nname = "x"\nbase_url = "http://y"',
        '[[provider]]\nname = "local"\nbase_url = "http://x"',
        '[[provider]]\nname = "x"\nbase_url = "http://x"\napi_key_env = 3',
    ],
)
def test_a_catalogue_file_that_is_wrong_stops_the_start_and_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "catalogue.toml"
    file.write_text(content)
    with pytest.raises(FailedPrecondition) as raised:
        ModelSettings(catalogue=file).providers()
    assert raised.value.reason == "CATALOGUE_INVALID"
    assert str(file) in raised.value.message


def test_ollama_is_not_looked_for_when_told_so() -> None:
    assert names(ModelSettings(ollama_url="")) == []
