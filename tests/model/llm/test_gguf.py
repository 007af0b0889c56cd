"""Headers of GGUF files: what they say of a model, and files that are none."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.model.llm.files import Files, ModelFile, name_of
from services.model.llm.gguf import NotGguf, read
from tests.model.llm.made import LLAMA, gguf, smollm2


def written(folder: Path, data: bytes) -> Path:
    path = folder / "model.gguf"
    path.write_bytes(data)
    return path


def test_the_header_says_what_the_list_of_models_shows(tmp_path: Path) -> None:
    facts = read(written(tmp_path, gguf()))
    assert (facts.architecture, facts.organization, facts.context) == ("llama", "Some Lab", 2048)
    # Four layers, the most key heads of any layer, keys and values of eight numbers each, two bytes a number.
    assert facts.cache_bytes == 4 * 4 * (8 + 8) * 2
    assert facts.size == (tmp_path / "model.gguf").stat().st_size


def test_the_packaged_model_is_described_by_its_file() -> None:
    facts = read(smollm2())
    assert (facts.architecture, facts.context, facts.cache_bytes) == ("llama", 8192, 23040)
    assert "im_start" in facts.template


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not a GGUF file"),
        (b"PK\3\4 a zip file", "not a GGUF file"),
        (gguf(version=1), "version 1 of GGUF"),
        (gguf({}), "holds no model"),
        (gguf(blocks=1000)[:-1], "is cut off: it has"),
        (gguf({**LLAMA, "general.alignment": 0}), "damaged or cut off"),
        (b"GGUF" + b"\3\0\0\0" + b"\xff" * 16, "damaged or cut off"),
        (b"GGUF" + b"\3\0\0\0" + b"\1" + b"\0" * 7 + b"\1" + b"\0" * 7 + b"\xff" * 64, "damaged or cut off"),
    ],
)
def test_a_file_that_is_none_is_refused_with_the_reason(tmp_path: Path, data: bytes, why: str) -> None:
    with pytest.raises(NotGguf, match=why):
        read(written(tmp_path, data))


@given(st.integers(0, len(gguf()) - 1))
def test_a_file_that_is_cut_off_anywhere_is_refused(tmp_path_factory: pytest.TempPathFactory, length: int) -> None:
    with pytest.raises(NotGguf):
        read(written(tmp_path_factory.mktemp("cut"), gguf()[:length]))


@given(st.integers(0, len(gguf()) - 1), st.binary(min_size=1, max_size=12))
def test_a_damaged_header_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, at: int, damage: bytes) -> None:
    data = bytearray(gguf())
    data[at : at + len(damage)] = damage
    path = written(tmp_path_factory.mktemp("damaged"), bytes(data))
    try:
        assert read(path).size == len(data)
    except NotGguf as error:
        assert str(error)  # noqa: PT017 - both outcomes are right


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2-135m-instruct"),
        ("Qwen2.5-7B-Instruct-Q4_K_M.gguf", "qwen2.5-7b-instruct"),
        ("gemma_3_1b_it-F16.gguf", "gemma-3-1b-it"),
        ("phi-4-IQ3_XS.gguf", "phi-4"),
        ("gpt-oss-20b-mxfp4.gguf", "gpt-oss-20b"),
        ("Mein Modell.gguf", "mein-modell"),
        ("???.gguf", "model"),
    ],
)
def test_a_model_has_the_name_of_its_file_without_the_quantisation(file: str, name: str) -> None:
    assert name_of(Path(file)) == name


def test_added_files_come_before_a_named_one_and_the_package_is_last(tmp_path: Path) -> None:
    named = tmp_path / "Named.Q8_0.gguf"
    named.write_bytes(gguf())
    folder = tmp_path / "llm"
    assert [file.name for file in Files(folder).all()] == ["smollm2-135m-instruct"]
    folder.mkdir()
    for name in ("b", "a"):
        (folder / f"{name}.gguf").write_bytes(gguf())
    files = Files(folder, named)
    assert [file.name for file in files.all()] == ["a", "b", "named", "smollm2-135m-instruct"]
    (folder / "named.gguf").write_bytes(gguf())
    found = files.find("named")
    assert found is not None
    assert found.path == folder / "named.gguf"
    assert len(files.all()) == 4


def test_a_header_is_read_again_when_the_file_has_changed(tmp_path: Path) -> None:
    file = ModelFile("model", written(tmp_path, gguf()))
    assert file.facts().context == 2048
    written(tmp_path, gguf({**LLAMA, "llama.context_length": 128}, blocks=2))
    assert file.facts().context == 128
    written(tmp_path, b"none")
    for _ in range(2):
        with pytest.raises(NotGguf):
            file.facts()
