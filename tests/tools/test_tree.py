"""Lines that name one machine are found."""

from pathlib import Path

import pytest

from tools import tree
from tools.tree import NAMED, PATHS, REGISTRIES


@pytest.mark.parametrize("line", ["cd /" + "work/main", 'open("/' + 'root/.ssh/x")', "see /" + "home/ana/src"])
def test_a_path_of_a_machine_is_found(line: str) -> None:
    assert PATHS.search(line)


@pytest.mark.parametrize("line", ["proto/work/x", "${HOME}/root/x", "a framework/root/b"])
def test_a_path_inside_the_repository_is_not(line: str) -> None:
    assert not PATHS.search(line)


@pytest.mark.parametrize("host", ["pypi.org/simple", "registry.npmjs.org", "proxy.golang.org", "mirror.lan/simple"])
def test_a_package_registry_is_found(host: str) -> None:
    assert REGISTRIES.search("https:" + f"//{host}")


@pytest.mark.parametrize("url", ["https://example.com/v1/models", "http://127.0.0.1:8080", "https://api.openai.com/v1"])
def test_other_addresses_are_not(url: str) -> None:
    assert not REGISTRIES.search(url)


def test_a_file_is_named_in_backticks_and_the_example_of_a_service_need_not_exist() -> None:
    line = "`services/host.py`, `tests/greeting/test_service.py`, services/bare.py, `docs/`"
    assert NAMED.findall(line) == ["services/host.py"]


def test_a_named_file_that_does_not_exist_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "ROOT", tmp_path)
    (tmp_path / "page.md").write_text("\n".join(f"`docs/{name}.md`" for name in ("there", "gone")))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "there.md").touch()
    assert tree._missing("page.md") == ["page.md:2: there is no file docs/gone.md"]
