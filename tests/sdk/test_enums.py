"""Values of enums are written as words."""

import pytest
from soma.memory.v1 import memory_service_pb2 as memory
from soma.orchestrator.v1.response_service_pb2 import Response
from somamesh.enums import enum_value, enum_word

from tests.sdk.conftest import Server
from tests.sdk.drivers import Driver


def test_a_word_is_a_value_without_the_enums_name() -> None:
    assert enum_value(memory.Strategy, "long_only") == memory.STRATEGY_LONG_ONLY
    assert enum_value(memory.Strategy, None) == memory.STRATEGY_UNSPECIFIED
    assert enum_word(Response.State, Response.STATE_IN_PROGRESS) == "in_progress"


@pytest.mark.parametrize("value", [Response.STATE_UNSPECIFIED, 99])
def test_an_unset_or_unknown_value_has_no_word(value: int) -> None:
    assert (enum_word(Response.State, value), enum_word(Response.State, value, "unknown")) == ("", "unknown")


async def test_an_unknown_word_is_refused_before_it_is_sent(server: Server, client: Driver) -> None:
    with pytest.raises(ValueError, match="Strategy is one of short_only, long_only, hybrid, not 'unspecified'"):
        await client.call("get_context", "c1", strategy="unspecified")
    assert server.trouble.requests == []
