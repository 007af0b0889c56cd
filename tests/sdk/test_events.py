"""Streams of the common form are read, and a stream without its final event was cut."""

import pytest
from soma.mesh.v1.stream_pb2 import Heartbeat, StreamError
from soma.model.v1 import model_service_pb2 as model
from soma.model.v1.message_pb2 import Delta
from soma.orchestrator.v1 import log_service_pb2 as logs
from soma.testing.v1.echo_service_pb2 import StreamEchoResponse
from somamesh import NotFoundError, UnavailableError
from somamesh.calls import unchanged
from somamesh.events import events

ENTRY = logs.LogEntry(id="1-0", message="begun")
ERROR = StreamError(code=5, status="NOT_FOUND", reason="GONE", message="no such task")


def test_a_stream_with_one_kind_of_event_gives_the_values() -> None:
    reader = events(unchanged, item="entry", has_final_event=True)("req_1")
    assert reader.take(logs.TailLogsResponse(started=logs.TailStarted(after="1-0"))) is None
    assert reader.take(logs.TailLogsResponse(heartbeat=Heartbeat())) is None
    assert reader.take(logs.TailLogsResponse(entry=ENTRY)) == ENTRY


def test_a_stream_with_several_kinds_of_events_gives_the_events_without_heartbeats() -> None:
    reader = events(unchanged, item="", has_final_event=True)("req_1")
    said = model.GenerateResponse(delta=Delta(text="Hi"))
    finished = model.GenerateResponse(finished=model.GenerationFinished())
    beat = model.GenerateResponse(heartbeat=Heartbeat())
    assert [reader.take(event) for event in (said, beat, finished)] == [said, None, finished]
    reader.end()


def test_an_error_in_a_stream_is_raised() -> None:
    reader = events(unchanged, item="entry", has_final_event=True)("req_1")
    with pytest.raises(NotFoundError) as caught:
        reader.take(logs.TailLogsResponse(error=ERROR))
    assert (caught.value.reason, caught.value.request_id) == ("GONE", "req_1")


def test_a_stream_without_its_last_event_was_cut_off() -> None:
    reader = events(unchanged, item="", has_final_event=True)("req_1")
    reader.take(model.GenerateResponse(delta=Delta(text="Hi")))
    with pytest.raises(UnavailableError) as caught:
        reader.end()
    assert caught.value.reason == "STREAM_CUT"


def test_a_stream_whose_contract_has_no_last_event_may_end_after_any_event() -> None:
    reader = events(unchanged, item="", has_final_event=False)("req_1")
    assert reader.take(StreamEchoResponse(text="Hi")) == StreamEchoResponse(text="Hi")
    reader.end()
