"""Which status can follow which, whatever is tried in whatever order."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.orchestrator.sessions.session import FOLLOWING, STATUSES, sources
from tests.orchestrator.sessions.conftest import Desk, refused
from tests.size import examples


@pytest.mark.parametrize("status", STATUSES)
def test_a_status_is_reached_from_itself_and_from_those_it_follows(status: str) -> None:
    assert sources(status) == [each for each in STATUSES if each == status or status in FOLLOWING[each]]
    assert set(FOLLOWING) == set(STATUSES)


@settings(max_examples=examples(15), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wishes=st.lists(st.sampled_from(STATUSES), max_size=6))
async def test_a_session_goes_only_where_its_status_lets_it(desk: Desk, wishes: list[str]) -> None:
    session = await desk.create()
    status = "active"
    for wish in wishes:
        if wish == status or wish in FOLLOWING[status]:
            assert (await desk.set_status(session.id, wish)).status == wish
            status = wish
        else:
            assert (await refused(desk.set_status(session.id, wish))).reason == "STATUS_UNREACHABLE"
        assert (await desk.get(session.id)).status == status
