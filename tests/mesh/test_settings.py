"""Wrong settings are refused in one line, whatever their source."""

from pathlib import Path
from typing import Any

import pytest

from services.mesh.call import errors
from services.mesh.settings import Settings


def refused(**values: Any) -> str:
    """The error for these settings."""
    with pytest.raises(errors.InvalidArgument) as refusal:
        Settings(**values)
    assert refusal.value.reason == "SETTINGS_INVALID"
    assert "\n" not in refusal.value.message
    return refusal.value.message


def test_each_wrong_value_is_named() -> None:
    said = refused(port="abc", grace_seconds=-1)
    assert "port: " in said
    assert "grace_seconds: " in said


def test_an_unknown_name_is_refused() -> None:
    assert "prot: " in refused(prot=8080)


@pytest.mark.parametrize("where", [{"bind": "0.0.0.0"}, {"bind": "::"}, {"bind": "127.0.0.1", "advertise": "0.0.0.0"}])
def test_a_process_is_reached_at_one_address(where: dict[str, Any]) -> None:
    assert "advertise" in refused(**where)
    assert Settings(**where | {"advertise": "10.0.0.7"}).advertise == "10.0.0.7"


def test_neighbours_are_reached_by_address_and_not_by_name() -> None:
    assert "'here'" in refused(advertise="here")


@pytest.mark.parametrize(
    "where",
    [
        *({"host": "fe80::1%lo"}, {"host": "localhost:8080"}, {"bind": "localhost", "advertise": "10.0.0.7"}),
        *({"advertise": "fe80::1%lo"}, {"control": "::1:7000"}, {"control": "mesh"}, {"control": "http://mesh:7000"}),
    ],
)
def test_an_invalid_address_is_refused_by_its_name(where: dict[str, Any]) -> None:
    name, value = next(iter(where.items()))
    assert f"{name}: {value!r}" in refused(**where)


def test_an_address_of_ipv6_may_have_brackets() -> None:
    found = Settings(host="[::1]", bind="[::1]", advertise="[2001:DB8::7]", control="[::1]:7000")
    assert (found.host, found.bind, found.advertise, found.control) == ("::1", "::1", "2001:db8::7", "[::1]:7000")
    assert not found.mutual_tls


def test_a_file_that_is_not_toml_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "soma.toml").write_text("port = \n")
    monkeypatch.setenv("SOMA_CONFIG", str(tmp_path / "soma.toml"))
    assert "line 1" in refused()


def test_the_roles_of_postgres_are_three_or_one() -> None:
    app, system, owner = (f"postgresql://{role}@db/soma" for role in ("app", "system", "owner"))
    three: dict[str, Any] = {"postgres_url": app, "postgres_system_url": system, "postgres_owner_url": owner}
    assert Settings(**three).part_urls("postgres") == three
    assert Settings(postgres_url=app).part_urls("postgres") == {"postgres_url": app}
    for missing in three:
        if missing != "postgres_url":
            assert "belong together" in refused(**{name: url for name, url in three.items() if name != missing})
    assert "belong together" in refused(postgres_system_url=system, postgres_owner_url=owner)
