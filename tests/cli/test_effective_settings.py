"""`soma config`: values, their sources, and no secret."""

import pkgutil
from importlib import import_module
from pathlib import Path

import pytest

import gateway
import services
from cli.effective_settings import HIDDEN, effective, require_known_tables, settings_classes
from services.mesh.call.errors import InvalidArgument
from services.mesh.settings import Settings, SomaSettings
from services.model.settings import ModelSettings
from tests.cli.commands import soma


@pytest.fixture
def _config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "soma.toml").write_text('port = 9001\nhost = "0.0.0.0"\n[model]\n')
    monkeypatch.setenv("SOMA_CONFIG", str(tmp_path / "soma.toml"))
    monkeypatch.setenv("SOMA_PORT", "9002")
    monkeypatch.setenv("SOMA_POSTGRES_URL", "postgresql://soma:s3cret@db/soma")


@pytest.mark.usefixtures("_config")
def test_each_value_says_where_it_came_from() -> None:
    found = {each.name: (each.value, each.source) for each in effective(Settings)}
    assert found["port"] == ("9002", "environment")
    assert found["host"] == ("0.0.0.0", "soma.toml")
    assert found["bind"] == ("127.0.0.1", "default")


@pytest.mark.usefixtures("_config")
def test_a_secret_is_hidden() -> None:
    assert not [each for each in effective(Settings) if "s3cret" in each.value]
    assert {each.name: each.value for each in effective(Settings)}["redis_url"] == "-"


def test_a_setting_from_a_vendors_variable_says_where_it_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "s3cret")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://h/v1?key=s3cret")
    (tmp_path / "soma.toml").write_text('[model]\nanthropic_api_key = "s3cret"\n')
    found = {each.name: (each.value, each.source) for each in effective(ModelSettings)}
    assert found["model.openai_api_key"] == (HIDDEN, "environment")
    assert found["model.openai_base_url"] == (f"http://h/v1?{HIDDEN}", "environment")
    assert found["model.anthropic_api_key"] == (HIDDEN, "soma.toml")


def test_no_settings_class_is_forgotten() -> None:
    for folder in (services, gateway):
        for module in pkgutil.walk_packages(folder.__path__, f"{folder.__name__}."):
            if module.name.endswith(".settings"):
                import_module(module.name)
    there = {kind for kind in SomaSettings.__subclasses__() if kind.__module__.startswith(("services.", "gateway."))}
    assert set(settings_classes()) == there


def test_an_unknown_table_is_refused_with_the_existing_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOMA_CONFIG", raising=False)
    require_known_tables()
    (tmp_path / "soma.toml").write_text("port = 1\n[policy]\n[embedding]\n")
    require_known_tables()
    (tmp_path / "soma.toml").write_text('[modle]\nopenai_api_key = "x"\n')
    with pytest.raises(
        InvalidArgument,
        match=r"\[modle\] in soma.toml: .* there are blobs, edge, embedding, gateway, identity, limits, llm",
    ):
        require_known_tables()


@pytest.mark.parametrize("command", [("up", "--dev"), ("serve", "policy"), ("config",)])
async def test_each_command_that_reads_settings_refuses_such_a_table(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "soma.toml").write_text("[modle]\n")
    ended = await soma(*command, cwd=tmp_path)
    assert (ended.status, "there is no such table" in ended.errors) == (1, True)
    assert [each.name for each in tmp_path.iterdir()] == ["soma.toml"]


def test_the_settings_of_services_are_shown_under_their_name() -> None:
    names = {each.name for kind in settings_classes() for each in effective(kind)}
    assert {"port", "edge.body_limit_bytes", "policy.rules"} <= names
