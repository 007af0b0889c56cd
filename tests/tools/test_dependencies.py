"""The page of dependencies agrees with the dependencies."""

import pytest

from tools.dependencies import PAGE, declared, described, gaps, used
from tools.lock import ROOT, Locked

PAGE_OF_TEA = """
| package | what for | licence | locked | published |
|---|---|---|---|---|
| **Drinks** | | | | |
| tea (with milk) | drinking | MIT | 1.0 | 2026-01-01 |
| cup, saucer | holding it | MIT; ISC | 2.0; 3.1 | 2026-01-01; 2026-01-02 |
| pot, lid | making it | MIT | 4.0 | 2026-01-01 |
"""
ROWS = {"tea": "1.0", "cup": "2.0", "saucer": "3.1", "pot": "4.0", "lid": "4.0"}
PACKAGES = {name: Locked(name, frozenset({version})) for name, version in ROWS.items()}


def test_the_packages_are_those_of_the_project_and_not_its_own() -> None:
    project = """
[project]
dependencies = ["somamesh-contracts", "Tea[milk]==1.*", "cup>=2,<3", "pot; sys_platform == 'linux'"]
[dependency-groups]
dev = ["coffee"]
"""
    assert declared(project) == {"tea", "cup", "pot"}


def test_a_row_may_name_several_packages() -> None:
    assert described(PAGE_OF_TEA) == ROWS


def test_a_row_with_too_few_versions_is_an_error() -> None:
    with pytest.raises(ValueError):
        described(PAGE_OF_TEA + "| a, b, c | | MIT | 1.0; 2.0 | |\n")


def test_a_page_that_is_up_to_date_has_no_gap() -> None:
    assert list(gaps(ROWS.keys(), ROWS, PACKAGES)) == []


def test_a_missing_row_a_superfluous_row_and_another_version_are_gaps() -> None:
    rows = {**ROWS, "tea": "0.9", "sugar": "1.0"}
    del rows["pot"]
    pot, sugar, tea = gaps(ROWS.keys(), rows, PACKAGES)
    assert pot.startswith("pot: ")
    assert sugar.startswith("sugar: ")
    assert "0.9" in tea
    assert "1.0" in tea


def test_the_page_names_every_dependency() -> None:
    assert {"grpcio", "redoc"} < used().keys()
    assert used().keys() == described((ROOT / PAGE).read_text()).keys()
