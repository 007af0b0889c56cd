"""Variables and settings configure vendors; the other vendors are listed with the variables that are missing."""

from pathlib import Path

import pytest

from services.mesh.call.errors import FailedPrecondition, InvalidArgument
from services.model.catalogue_file import ProviderSettings
from services.model.settings import ModelSettings
from services.model.vendor_files import load
from tests.model.vendors import VARIABLES, VENDORS

OWN = "http://10.0.0.1:9000"


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Remove all variables that would configure a provider."""
    monkeypatch.chdir(tmp_path)
    for name in (*VARIABLES, "SOMA_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SOMA_MODEL_OLLAMA_URL", "")


def providers() -> dict[str, ProviderSettings]:
    return {entry.name: entry for entry in ModelSettings().providers()[1]}


def missing() -> dict[str, tuple[str, ...]]:
    return {each.vendor.name: each.variables for each in ModelSettings().missing(VENDORS)}


FOUND = sorted(name for name in VENDORS if name not in ("ollama", "openai_compatible", "llm"))


@pytest.mark.parametrize("name", FOUND)
def test_a_vendor_is_found_if_all_its_required_variables_are_set(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert name not in providers()
    server = VENDORS[name].server
    if not server.url:
        monkeypatch.setenv(server.url_variables[0], OWN)
    monkeypatch.setenv(server.key_variables[0], "sk-1")
    for variable in server.models_variables[:1]:
        monkeypatch.setenv(variable, "mine, other ,")
    found = providers()
    assert list(found) == [name]
    assert found[name].base_url.split("?")[0] == (server.url or OWN)
    assert found[name].api_key.get_secret_value() == "sk-1"
    assert found[name].key_place == f"{server.key_variables[0]} in the environment"
    assert found[name].models == (("mine", "other") if server.models_variables else ())
    assert missing().keys() == {*FOUND, "ollama"} - {name}


def test_the_missing_variables_of_every_other_vendor_are_named() -> None:
    found = missing()
    assert found["groq"] == ("GROQ_API_KEY",)
    assert found["vllm"] == ("VLLM_BASE_URL",)
    assert found["openai"] == ("OPENAI_API_KEY",)
    assert found["ollama"] == ("SOMA_MODEL_OLLAMA_URL",)
    assert found["azure"] == ("AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_DEPLOYMENTS")


def test_a_vendor_with_only_some_of_its_required_variables_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "sk-1")
    monkeypatch.setenv("VLLM_API_KEY", "sk-2")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "https://proxy.example")
    assert providers() == {}
    found = missing()
    assert found["azure"] == ("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_DEPLOYMENTS")
    assert found["vllm"] == ("VLLM_BASE_URL",)
    assert found["anthropic"] == ("ANTHROPIC_API_KEY",)


def test_the_url_of_a_private_server_is_enough_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SGLANG_BASE_URL", OWN)
    monkeypatch.setenv("NVIDIA_BASE_URL", OWN)
    assert {name: entry.base_url for name, entry in providers().items()} == {"nvidia": OWN, "sglang": OWN}


@pytest.mark.parametrize(
    ("endpoint", "more", "found"),
    [
        ("https://x.openai.azure.com/", {}, "https://x.openai.azure.com?api-version=2024-10-21"),
        ("https://x.openai.azure.com/openai/v1/", {}, "https://x.openai.azure.com?api-version=2024-10-21"),
        (
            "https://x.openai.azure.com",
            {"OPENAI_API_VERSION": "2025-01-01-preview"},
            "https://x.openai.azure.com?api-version=2025-01-01-preview",
        ),
        ("https://x.openai.azure.com?api-version=1", {}, "https://x.openai.azure.com?api-version=1"),
    ],
)
def test_azures_endpoint_has_the_version_of_the_api(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, more: dict[str, str], found: str
) -> None:
    given = {"AZURE_OPENAI_ENDPOINT": endpoint, "AZURE_OPENAI_API_KEY": "k", "AZURE_OPENAI_DEPLOYMENT": "mine", **more}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert providers()["azure"].base_url == found


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("GROQ_API_KEY", "sk-é", "GROQ_API_KEY in the environment: character 4"),
        ("GROQ_BASE_URL", "api.groq.com", "GROQ_BASE_URL in the environment: the URL has no scheme"),
        ("VLLM_BASE_URL", "http://h/v1/models", "VLLM_BASE_URL in the environment: .*leave out /models"),
    ],
)
def test_a_wrong_value_is_named_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "sk-1")
    monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidArgument, match=said):
        providers()


def test_a_provider_of_the_catalogue_file_takes_missing_values_from_its_vendor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "catalogue.toml"
    file.write_text('[[provider]]\nname = "fast"\nvendor = "groq"\n[[provider]]\nname = "lab"\nbase_url = "http://h"\n')
    monkeypatch.setenv("GROQ_API_KEY", "sk-1")
    settings = ModelSettings(catalogue=file)
    _, (fast, lab, *_) = settings.providers()
    assert (fast.vendor, fast.base_url) == ("groq", "https://api.groq.com/openai/v1")
    assert fast.api_key.get_secret_value() == "sk-1"
    assert (lab.vendor, lab.api_key.get_secret_value()) == ("openai_compatible", "")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ('vendor = "acme"', "there is no vendor `acme`; there are openai, anthropic"),
        ('vendor = "groq"\nkind = "openai"', "give `vendor` or `kind`, not both"),
        ('vendor = "vllm"', "vLLM needs `base_url`"),
        ("", "needs `base_url`"),
        ('vendor = "azure"\nbase_url = "https://x.openai.azure.com"', "Azure OpenAI needs `models`"),
    ],
)
def test_a_provider_that_lacks_what_its_vendor_needs_is_named(tmp_path: Path, entry: str, said: str) -> None:
    file = tmp_path / "catalogue.toml"
    file.write_text(f'[[provider]]\nname = "mine"\n{entry}\n')
    with pytest.raises(FailedPrecondition) as raised:
        ModelSettings(catalogue=file).providers()
    assert f"{file}: provider `mine`: " in raised.value.message
    assert said in raised.value.message


def test_a_vendor_from_the_users_folder_is_found_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "lab.toml").write_text(
        'title = "The lab"\nabout = "https://lab.example"\n'
        '[server]\nurl = "https://lab.example/v1"\nkey_variables = ["LAB_KEY"]\nneeds = ["key"]\n'
    )
    vendors = load(tmp_path)
    assert "lab" in {each.vendor.name for each in ModelSettings().missing(vendors)}
    monkeypatch.setenv("LAB_KEY", "sk-1")
    _, (lab,) = ModelSettings().providers(vendors)
    assert (lab.name, lab.vendor, lab.base_url) == ("lab", "lab", "https://lab.example/v1")


def test_a_folder_of_vendors_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMA_MODEL_VENDORS", "nowhere")
    with pytest.raises(InvalidArgument, match="SOMA_MODEL_VENDORS in the environment: "):
        ModelSettings()
