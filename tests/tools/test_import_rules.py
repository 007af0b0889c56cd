"""Which modules of a service may import transport, database driver and protobuf."""

import grimp
import pytest

from tools.import_rules import DomainContract

OPTIONS = {
    "forbidden": ["grpc", "asyncpg", "google.protobuf"],
    "outer_rooms": ["service", "main", "store", "settings", "adapters", "migrations"],
    "foundations": ["mesh"],
}


def broken_by(importer: str, imported: str, line: str = "") -> list[tuple[str, str]]:
    graph = grimp.ImportGraph()
    graph.add_module(importer)
    graph.add_module(imported, is_squashed=True)
    graph.add_import(importer=importer, imported=imported, line_number=1, line_contents=line)
    contract = DomainContract(name="domain", session_options={}, contract_options=OPTIONS)
    check = contract.check(graph, verbose=False)
    broken: list[tuple[str, str]] = check.metadata["broken"]
    assert check.kept == (not broken)
    return broken


@pytest.mark.parametrize("package", ["grpc", "grpc.aio", "asyncpg", "google.protobuf"])
def test_a_domain_module_may_not_import_them(package: str) -> None:
    assert broken_by("services.brand_new.ledger", package) == [("services.brand_new.ledger", package)]


@pytest.mark.parametrize("room", ["service", "main", "store", "adapters.openai", "migrations.env", "sessions.store"])
def test_the_outer_rooms_may_import_them(room: str) -> None:
    assert broken_by(f"services.memory.{room}", "grpc") == []


def test_the_mesh_may_import_them() -> None:
    assert broken_by("services.mesh.local_channel", "grpc") == []


@pytest.mark.parametrize("package", ["grpc_status", "google", "asyncio"])
def test_a_package_whose_name_only_begins_the_same_is_another(package: str) -> None:
    assert broken_by("services.memory.ledger", package) == []


@pytest.mark.parametrize("line", ["from google.protobuf.struct_pb2 import Struct", "from google import protobuf"])
def test_a_package_that_the_graph_knows_by_its_first_name_only_is_found_in_the_line(line: str) -> None:
    assert broken_by("services.memory.ledger", "google", line) == [("services.memory.ledger", "google")]


@pytest.mark.parametrize("line", ["from google.rpc import code_pb2", "from google.protobufs import Struct"])
def test_another_package_of_the_same_first_name_is_allowed(line: str) -> None:
    assert broken_by("services.memory.ledger", "google", line) == []
