"""The reasons that the contracts declare, and the module and page generated from them."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from soma.errors.v1 import reasons as generated
from soma.mesh.v1.errors_pb2 import ErrorReason

from services.mesh.call import errors
from tools.reasons import HTTP_STATUSES, PREFIX, Reason, gaps_of, module, page, reasons_of

ROOT = Path(__file__).parents[2]
DESCRIPTORS = (ROOT / "gen" / "descriptors.binpb").read_bytes()
FULL = Reason("soma.mesh.v1", "STORAGE_FULL", "UNAVAILABLE", "AFTER_CHANGE", 503, "The disk is full.")


def test_what_the_contract_says_of_a_reason_is_read() -> None:
    (full,) = [each for each in reasons_of(DESCRIPTORS) if each.name == "STORAGE_FULL"]
    assert replace(full, meaning="") == replace(FULL, meaning="")
    assert full.meaning.startswith("The disk of Postgres, of Redis, or of pictures and documents is full")


def test_an_http_status_of_its_own_is_read_and_otherwise_follows_the_canonical_one() -> None:
    http = {each.name: each.http for each in reasons_of(DESCRIPTORS)}
    assert (http["PAYLOAD_TOO_LARGE"], http["LIMIT_REACHED"]) == (413, 429)


def test_the_reason_sent_is_the_name_of_the_value_without_its_prefix() -> None:
    sent = {each.name for each in reasons_of(DESCRIPTORS) if each.area == "soma.mesh.v1"}
    assert sent == {name.removeprefix(PREFIX) for name in ErrorReason.DESCRIPTOR.values_by_name} - {"UNSPECIFIED"}
    assert all(getattr(generated, name) == name for name in sent)


def test_every_canonical_status_has_an_http_status() -> None:
    assert set(HTTP_STATUSES) == {code.name for code in errors.Code}


def test_contracts_without_gaps_are_accepted() -> None:
    assert gaps_of([FULL, replace(FULL, name="OTHER")]) == []


@pytest.mark.parametrize("reason", [replace(FULL, status="OK"), replace(FULL, retry="UNSPECIFIED")])
def test_a_reason_without_a_status_or_a_retry_is_refused(reason: Reason) -> None:
    (gap,) = gaps_of([reason])
    assert "soma.mesh.v1.ErrorReason STORAGE_FULL" in gap


def test_a_value_without_the_option_is_read_as_unspecified() -> None:
    files = descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTORS)
    (file,) = [each for each in files.file if each.name == "soma/policy/v1/errors.proto"]
    file.enum_type[0].value.add(name="ERROR_REASON_NEW", number=99)
    (new,) = [each for each in reasons_of(files.SerializeToString()) if each.name == "NEW"]
    assert len(gaps_of([new])) == 1


def test_a_reason_that_two_areas_declare_is_refused() -> None:
    assert len(gaps_of([FULL, replace(FULL, area="soma.memory.v1")])) == 2


def test_the_module_is_plain_python_with_a_constant_and_the_facts_of_each_reason() -> None:
    text = module([FULL])
    imported = {node.module for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)}
    assert imported == {"typing"}
    made: dict[str, object] = {}
    exec(text, made)
    assert made["STORAGE_FULL"] == "STORAGE_FULL"
    assert made["DECLARED"] == {"STORAGE_FULL": ("UNAVAILABLE", 503, "AFTER_CHANGE")}


def test_the_page_has_a_row_for_each_reason_of_the_product() -> None:
    shown = page([FULL, replace(FULL, area="soma.testing.v1", name="NOTE_NOT_FOUND")])
    assert "| `STORAGE_FULL` | UNAVAILABLE | 503 | after a change | The disk is full. |" in shown
    assert "NOTE_NOT_FOUND" not in shown
