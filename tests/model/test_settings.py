"""The providers that the environment and the catalogue file configure."""

from pathlib import Path

import pytest

from services.mesh.call.errors import FailedPrecondition, InvalidArgument, MeshError
from services.model import settings as module
from services.model.settings import ModelSettings

pytestmark = pytest.mark.usefixtures("bare")
KEYED = '[[provider]]\nname = "vllm"\nbase_url = "http://h/v1"\napi_key_env = "VLLM_KEY"\n'


def names(settings: ModelSettings) -> list[str]:
    return [entry.name for entry in settings.providers()[1]]


def test_without_settings_only_ollama_is_looked_for() -> None:
    _, (ollama,) = ModelSettings().providers()
    assert (ollama.name, ollama.base_url, ollama.optional) == ("ollama", "http://127.0.0.1:11434/v1", True)


def test_a_key_in_the_environment_configures_its_vendor(monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_a_base_url_must_be_a_url(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for name in ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "SOMA_MODEL_OLLAMA_URL"):
        with monkeypatch.context() as patch, pytest.raises(InvalidArgument, match=r"(?i)url"):
            patch.setenv(name, url)
            ModelSettings()


def test_a_key_is_sent_without_what_copying_added(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "catalogue.toml").write_bytes(b"\xef\xbb\xbf" + KEYED.encode())
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1\n")
    monkeypatch.setenv("ANTHROPIC_API_KEY", '"sk-2"')
    monkeypatch.setenv("VLLM_KEY", "\ufeffsk-3\r\n")
    _, entries = ModelSettings(catalogue=tmp_path / "catalogue.toml").providers()
    assert [entry.api_key.get_secret_value() for entry in entries] == ["sk-3", "sk-1", "sk-2", ""]


def test_an_empty_key_counts_as_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "")
    assert names(ModelSettings()) == ["ollama"]
    monkeypatch.setenv("SOMA_MODEL_OPENAI_API_KEY", "\n")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    assert ModelSettings().openai_api_key.get_secret_value() == "sk-1"


@pytest.mark.parametrize(
    ("variable", "error"),
    [("OPENAI_API_KEY", InvalidArgument), ("ANTHROPIC_API_KEY", InvalidArgument), ("VLLM_KEY", FailedPrecondition)],
)
def test_a_key_that_no_header_can_carry_is_named_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, error: type[MeshError]
) -> None:
    (tmp_path / "catalogue.toml").write_text(KEYED)
    monkeypatch.setenv(variable, "hunter2\nhunter3")
    with pytest.raises(error) as refused:
        ModelSettings(catalogue=tmp_path / "catalogue.toml").providers()
    assert f"{variable} in the environment" in refused.value.message
    assert "hunter" not in refused.value.message


def test_a_vendors_variable_in_the_environment_overrides_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "soma.toml").write_text('[model]\nopenai_api_key = "of-the-file"\n')
    assert ModelSettings().openai_api_key.get_secret_value() == "of-the-file"
    monkeypatch.setenv("OPENAI_API_KEY", "of-the-environment")
    assert ModelSettings().openai_api_key.get_secret_value() == "of-the-environment"


def test_a_wrong_value_of_the_file_is_named_with_its_table(tmp_path: Path) -> None:
    (tmp_path / "soma.toml").write_text('[model]\nopenai_base_url = "http://h:99999"\n')
    with pytest.raises(InvalidArgument, match=r"\[model\] openai_base_url in soma.toml: the URL has a host or a port"):
        ModelSettings()


@pytest.mark.parametrize(
    ("variable", "given", "found"),
    [
        ("OPENAI_BASE_URL", "https://api.openai.com", ("openai", "https://api.openai.com/v1")),
        ("OPENAI_BASE_URL", "HTTPS://API.OPENAI.COM/v1/\n", ("openai", "https://api.openai.com/v1")),
        ("OPENAI_BASE_URL", "https://api.openai.com.evil.example/v1", ("openai_compatible", None)),
        ("OPENAI_BASE_URL", "http://h:8000", ("openai_compatible", "http://h:8000")),
        ("ANTHROPIC_BASE_URL", "https://proxy.example/v1/", ("anthropic", "https://proxy.example")),
        ("ANTHROPIC_BASE_URL", "https://proxy.example/a?team=1", ("anthropic", "https://proxy.example/a?team=1")),
        ("SOMA_MODEL_OLLAMA_URL", "http://h:11434/", ("openai_compatible", "http://h:11434/v1")),
        ("SOMA_MODEL_OLLAMA_URL", "http://h:11434/v1", ("openai_compatible", "http://h:11434/v1")),
    ],
)
def test_usual_forms_of_a_base_url_are_accepted(
    monkeypatch: pytest.MonkeyPatch, variable: str, given: str, found: tuple[str, str | None]
) -> None:
    monkeypatch.setenv("SOMA_MODEL_OLLAMA_URL", "")
    monkeypatch.setenv(variable, given)
    if variable == "ANTHROPIC_BASE_URL":
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-1")
    _, (entry,) = ModelSettings().providers()
    assert (entry.kind, entry.base_url) == (found[0], found[1] or given)


@pytest.mark.parametrize("method", ["/v1/chat/completions", "/v1/models", "/v1/messages"])
def test_the_url_of_one_method_is_no_base_url(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://h:8000{method}?x=1")
    with pytest.raises(InvalidArgument, match=r"OPENAI_BASE_URL in the environment: .* leave out /"):
        ModelSettings()


def test_a_wrong_base_url_of_the_catalogue_file_is_named_by_its_provider(tmp_path: Path) -> None:
    file = tmp_path / "catalogue.toml"
    file.write_text(KEYED.replace("http://h/v1", "http://user:hunter2@h:99999/v1"))
    with pytest.raises(FailedPrecondition) as refused:
        ModelSettings(catalogue=file).providers()
    assert f"{file} is wrong: provider 1 (`vllm`): base_url: the URL holds a user" in refused.value.message
    assert "hunter2" not in refused.value.message


def test_a_secret_does_not_show_when_settings_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    settings = ModelSettings()
    assert "sk-very-secret" not in f"{settings!r} {settings.providers()!r} {settings.model_dump_json()}"


def test_the_example_catalogue_is_valid_and_its_providers_come_before_those_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    example = Path(module.__file__).with_name("catalogue.example.toml")
    default, entries = ModelSettings(catalogue=example).providers()
    assert default == "gpt-5-mini"
    assert [entry.name for entry in entries] == ["openai", "anthropic", "vllm", "ollama"]
    assert entries[0].api_key.get_secret_value() == "sk-1"
    assert entries[0].models == ("gpt-5-mini", "gpt-5")


def test_a_default_from_the_environment_overrides_that_of_the_file(tmp_path: Path) -> None:
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


def test_an_empty_url_turns_ollama_off() -> None:
    assert names(ModelSettings(ollama_url="")) == []
