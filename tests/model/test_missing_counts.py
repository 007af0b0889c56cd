"""Counts that a provider does not report are estimated, and reported ones stay."""

import pytest
from soma.model.v1.cost_service_pb2 import UsageRecord

from services.mesh.call.call import run_as
from services.mesh.testing.local import SOMEBODY
from services.model.testing.dialects import Behaviour
from services.model.testing.upstreams import FakeUpstream
from tests.model.adapters.answering import data, delta
from tests.model.conftest import Serving, asking

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.mark.parametrize(
    ("usage", "prompt", "completion"),
    [
        ({"prompt_tokens": None, "completion_tokens": None}, 20, 10),
        ({"prompt_tokens": 7}, 7, 10),
        ({"completion_tokens": 3}, 20, 3),
        ({"prompt_tokens": -7, "completion_tokens": -3}, 20, 10),
        ({"prompt_tokens": 0, "completion_tokens": 0}, 20, 10),
    ],
)
async def test_each_count_that_is_missing_is_estimated(
    serving: Serving, usage: dict[str, int | None], prompt: int, completion: int
) -> None:
    sent = data(delta(content="x" * 40), {**delta("stop"), "usage": usage})
    async with FakeUpstream(behaviour=Behaviour(sent=sent)) as fake, serving([fake]) as models:
        with run_as(SOMEBODY):
            events = [event async for event in models.model.Generate(asking("y" * 80))]
        counted = events[-1].finished.usage
        (record,) = await models.usage()
    assert (counted.prompt_tokens, counted.completion_tokens) == (prompt, completion)
    assert counted.total_tokens == prompt + completion
    assert counted.estimated
    assert (record.outcome, record.usage) == (UsageRecord.OUTCOME_FINISHED, counted)
