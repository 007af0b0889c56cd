"""The variables of this process that a program inherits."""

import pytest

from cli.parts.part import Launch
from cli.parts.process import run


@pytest.mark.parametrize(
    ("name", "gets_it"),
    [
        ("PATH", True),
        ("TMPDIR", True),
        ("NSS_WRAPPER_PASSWD", True),
        ("PGSSLMODE", False),
        ("PGPATH", False),
        ("HOME", False),
        ("LC_ALL", False),
        ("TZ", False),
        ("MALLOC_PERTURB_", False),
        ("OPENAI_API_KEY", False),
        ("SOMA_POSTGRES_URL", False),
    ],
)
async def test_a_bare_program_gets_only_the_variables_it_needs(
    name: str, gets_it: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "/usr/bin")
    environment = Launch(["/usr/bin/env"], env={"ADDED": "1"}, bare=True)
    status, output = await run(environment)
    assert status == 0
    assert (f"{name}=/usr/bin\n" in output) is gets_it
    assert "ADDED=1\n" in output
    _, everything = await run(Launch(["/usr/bin/env"]))
    assert f"{name}=/usr/bin\n" in everything
