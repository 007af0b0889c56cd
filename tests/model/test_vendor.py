"""Vendors' files: their keys are read, and invalid files are refused."""

from pathlib import Path

import pytest

from services.mesh.call.errors import FailedPrecondition
from services.model.vendor_files import SHIPPED, load, read
from tests.model.vendors import VENDORS

ASKED_FOR = {
    "openai",
    "azure",
    "anthropic",
    "gemini",
    "mistral",
    "groq",
    "deepseek",
    "xai",
    "together",
    "fireworks",
    "openrouter",
    "cohere",
    "perplexity",
    "cerebras",
    "nvidia",
    "huggingface",
    "ollama",
    "lmstudio",
    "llamacpp",
    "vllm",
    "sglang",
    "tgi",
}


def test_every_vendor_is_shipped_and_says_where_it_is_documented() -> None:
    assert VENDORS.keys() == {*ASKED_FOR, "openai_compatible", "llm"}
    assert all(vendor.about.startswith("https://") for vendor in VENDORS.values())
    assert list(VENDORS)[:2] == ["openai", "anthropic"]
    assert list(VENDORS)[-1] == "openai_compatible"


@pytest.mark.parametrize("name", sorted(VENDORS))
def test_each_requirement_of_a_vendor_has_a_variable(name: str) -> None:
    server = VENDORS[name].server
    variables = {"key": server.key_variables, "url": server.url_variables, "models": server.models_variables}
    assert all(variables[each] for each in server.needs)
    # A stack says where its own part is.
    assert server.url or "url" in server.needs or name in ("openai_compatible", "llm")


@pytest.mark.parametrize("name", sorted(name for name, vendor in VENDORS.items() if vendor.known is not None))
def test_known_facts_of_models_have_a_source_and_each_model_is_listed_once(name: str) -> None:
    known = VENDORS[name].known
    assert known is not None
    assert known.source.startswith("https://")
    names = [each.name for each in known.models]
    assert len(set(names)) == len(names)
    # An unknown price is absent, not 0. Only models for vectors have an output price of 0.
    free = [each.name for each in known.models if each.input == 0 or (each.output == 0 and "embed" not in each.name)]
    assert free == []


def test_a_version_of_a_model_is_known_by_the_models_name_unless_it_has_an_entry() -> None:
    openai = VENDORS["openai"]
    facts, dated = openai.facts("gpt-5-mini"), openai.facts("gpt-5-mini-2025-08-07")
    assert facts is not None
    assert facts is dated
    assert openai.facts("gpt-4o-2024-05-13") is not openai.facts("gpt-4o")
    assert openai.facts("gpt-5-mini-fast") is None


def test_a_file_of_the_user_adds_a_vendor_or_replaces_one(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text('title = "The lab"\nabout = "https://lab.example"\nrank = 5\n')
    (tmp_path / "groq.toml").write_text('title = "Groq by proxy"\nabout = "https://lab.example"\n')
    found = load(tmp_path)
    assert next(iter(found)) == "lab"
    assert found["groq"].title == "Groq by proxy"
    assert found["groq"].server.key_variables == ()
    assert found.keys() == {*VENDORS, "lab"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("colour = 1", "colour: there is no such key"),
        ("[chat]\npaths = 1", "chat.paths: there is no such key"),
        ("[[limits]]\nremaining = 'a'\nreset = 'b'\nunit = 'seconds'\nmore = 1", "limits.1.more: there is no such key"),
        ("[chat]\nlacks = ['temprature']", "chat.lacks: there is no parameter temprature; there are top_k"),
        ("[server]\nurl = 'ftp://h'", "server.url: the URL begins with ftp://"),
        ("[models.kinds]\npoetry = ['*']", "models.kinds.poetry"),
        ("[server]\nneeds = ['luck']", "server.needs.1: Input should be 'key', 'url' or 'models'"),
        ("[known]\nsource = 'x'\nas_of = 2026-01-01\nmodels = [{ name = 'm', input = -1 }]", "known.models.1.input"),
        ("[server]\nelsewhere = 'nobody'", "server.elsewhere: there is no such vendor"),
        ("protocol = 'telegraph'", "protocol: Input should be"),
        ("about", "it is no TOML"),
    ],
)
def test_a_file_that_is_wrong_is_named_with_the_key(tmp_path: Path, line: str, said: str) -> None:
    file = tmp_path / "lab.toml"
    file.write_text(f'title = "The lab"\nabout = "https://lab.example"\n{line}\n')
    with pytest.raises(FailedPrecondition) as raised:
        load(tmp_path)
    assert raised.value.reason == "CATALOGUE_INVALID"
    assert f"{file} is wrong: {said}" in raised.value.message


def test_a_file_without_a_title_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text('about = "https://lab.example"\n')
    with pytest.raises(FailedPrecondition, match="title: "):
        read(tmp_path / "lab.toml")


def test_no_shipped_file_is_left_out() -> None:
    assert {path.stem for path in SHIPPED.iterdir()} == VENDORS.keys()
