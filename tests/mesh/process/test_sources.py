"""Values of the environment and of `soma.toml`: cleaned, not given if they are empty, and with their location."""

from pathlib import Path

import pytest

from services.mesh.call import errors
from services.mesh.limits.settings import LimitSettings, Tier
from services.mesh.settings import Settings


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `soma.toml` in a new directory."""
    monkeypatch.delenv("SOMA_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "soma.toml"


def refused() -> str:
    """The error for these settings."""
    with pytest.raises(errors.InvalidArgument) as refusal:
        Settings()
    assert refusal.value.reason == "SETTINGS_INVALID"
    return refusal.value.message


def test_characters_that_copying_adds_to_a_variable_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMA_DATA_DIR", "/data\n")
    monkeypatch.setenv("SOMA_LOG_LEVEL", '"debug"')
    monkeypatch.setenv("SOMA_POSTGRES_URL", "postgres://h/soma\r\n")
    monkeypatch.setenv("SOMA_OTLP_ENDPOINT", " http://collector:4318/\n")
    settings = Settings()
    assert (settings.data_dir, settings.log_level) == (Path("/data"), "debug")
    assert settings.postgres_url is not None
    assert settings.postgres_url.get_secret_value() == "postgres://h/soma"
    assert settings.otlp_endpoint == "http://collector:4318"


def test_an_empty_value_counts_as_missing(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    file.write_text('redis_url = ""\nlog_level = "debug"\n')
    for name in ("SOMA_POSTGRES_URL", "SOMA_PORT", "SOMA_LOG_LEVEL"):
        monkeypatch.setenv(name, " \n")
    settings = Settings()
    assert (settings.postgres_url, settings.redis_url, settings.port) == (None, None, 8080)
    assert settings.log_level == "debug"


@pytest.mark.parametrize("given", ["https://a.example,https://b.example", '["https://a.example", "https://b.example"]'])
def test_a_list_is_json_or_separated_by_commas(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("SOMA_CORS_ORIGINS", given)
    assert Settings().cors_origins == ("https://a.example", "https://b.example")


def test_a_list_that_is_neither_is_refused_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMA_CORS_ORIGINS", '["https://a.example"')
    assert "SOMA_CORS_ORIGINS in the environment" in refused()


def test_the_error_for_a_wrong_value_says_where_it_was_set(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    file.write_text("grace_seconds = -1\ncontrol_prot = 1\n")
    monkeypatch.setenv("SOMA_POSTGRES_URL", "postgresql://soma:hunter2@db:99999/soma")
    said = refused()
    assert "SOMA_POSTGRES_URL in the environment: the URL has" in said
    assert "grace_seconds in soma.toml: " in said
    assert "control_prot in soma.toml: " in said
    assert "hunter2" not in said


def test_a_wrong_value_from_the_caller_is_not_reported_as_one_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOMA_PORT", "8081")
    with pytest.raises(errors.InvalidArgument, match="wrong: port: "):
        Settings(port=-1)


def test_a_byte_order_mark_at_the_start_of_the_file_is_ignored(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbfport = 8081\n")
    assert Settings().port == 8081


@pytest.mark.parametrize(
    ("content", "said"),
    [("port = 1".encode("utf-16"), "UTF-16"), (b"name = '\xff'", "byte 8 is 0xff"), (b"port = \n", "line 1")],
)
def test_a_file_that_cannot_be_read_is_named_with_what_is_wrong(file: Path, content: bytes, said: str) -> None:
    file.write_bytes(content)
    assert said in refused()
    assert "soma.toml" in refused()


def test_a_file_that_is_named_must_exist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SOMA_CONFIG", f"{tmp_path / 'other.toml'}\n")
    assert f"SOMA_CONFIG in the environment: there is no file {tmp_path / 'other.toml'}" in refused()
    (tmp_path / "other.toml").write_text("port = 8082\n")
    assert Settings().port == 8082


def test_a_directory_in_place_of_the_file_is_refused(file: Path) -> None:
    file.mkdir()
    assert "soma.toml cannot be read: Is a directory" in refused()


def test_a_table_in_a_variable_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMA_LIMITS_TIERS", '{"standard": {"key": 7, "tenant": 70}}')
    assert LimitSettings().tiers == {"standard": Tier(key=7, tenant=70)}
    monkeypatch.setenv("SOMA_LIMITS_TIERS", '{"standard"')
    with pytest.raises(errors.InvalidArgument, match="SOMA_LIMITS_TIERS in the environment: it is a table in JSON"):
        LimitSettings()
