"""Lines that name one machine are found."""

import pytest

from tools.tree import PATHS, REGISTRIES


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
