"""The facts that a contract must state for every RPC."""

from dataclasses import replace
from pathlib import Path

import pytest

from tools.contracts import Rpc, gaps_of, rpcs_of

GEN = Path(__file__).parents[2] / "gen"
COMPLETE = Rpc("soma.x.v1.XService.GetX", "scope", "read:x", True, False, False)


def test_a_complete_rpc_has_no_gap() -> None:
    assert gaps_of(COMPLETE) == []


def test_an_rpc_that_says_nowhere_who_may_call_it_is_refused() -> None:
    (gap,) = gaps_of(replace(COMPLETE, access="", scope=""))
    assert "soma.x.v1.XService.GetX" in gap
    assert "soma.authz.v1.rule" in gap


def test_a_public_rpc_without_a_rest_binding_is_refused() -> None:
    (gap,) = gaps_of(replace(COMPLETE, has_http=False))
    assert "google.api.http" in gap


@pytest.mark.parametrize("rpc", [replace(COMPLETE, access="internal"), replace(COMPLETE, client_streaming=True)])
def test_a_client_stream_or_an_internal_rpc_needs_no_binding(rpc: Rpc) -> None:
    assert gaps_of(replace(rpc, has_http=False)) == []


@pytest.mark.parametrize("descriptors", [GEN / "descriptors.binpb", GEN / "python" / "soma" / "descriptors.binpb"])
def test_both_descriptor_sets_tell_access_binding_and_streaming(descriptors: Path) -> None:
    rpcs = {rpc.name: rpc for rpc in rpcs_of(descriptors.read_bytes())}
    generate = rpcs["soma.model.v1.ModelService.Generate"]
    assert generate.access == "scope"
    assert generate.scope.startswith("execute:")
    assert generate.has_http
    assert generate.server_streaming
    assert not generate.client_streaming
    register = rpcs["soma.mesh.v1.RegistryService.Register"]
    assert register.access == "internal"
    assert not register.has_http
