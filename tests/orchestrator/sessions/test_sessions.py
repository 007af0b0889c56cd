"""Sessions: whose they are, how they are listed and deleted, and that two writers never undo each other."""

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.struct_pb2 import Struct
from soma.model.v1.catalog_service_pb2 import Model
from soma.orchestrator.v1 import chat_session_service_pb2 as pb

from services.mesh.call.call import run_as
from services.mesh.call.errors import Code
from services.mesh.call.principal import Principal
from services.mesh.testing.local import SOMEBODY
from tests.fakes.fake import away
from tests.orchestrator.conftest import EMBEDDER, Fakes
from tests.orchestrator.sessions.conftest import Desk, new_id, refused

if TYPE_CHECKING:
    from tests.databases import OwnedDatabase

COLLEAGUE = Principal("acme", "sam", scopes=frozenset({"*"}))
STRANGER = Principal("globex", "alex", scopes=frozenset({"*"}))


def struct(**values: Any) -> Struct:
    """A JSON object."""
    made = Struct()
    made.update(values)
    return made


async def test_a_new_session_has_the_requested_values(desk: Desk) -> None:
    config = struct(template="document_summary", custom_parameters={"sentences": 2}, description="Sums up", own=[1])
    created = await desk.create(
        session_type="general", model_name="talker", user_id="user-123", title="Mail", agent_id="a-1", config=config
    )
    assert (created.session_type, created.model_name, created.user_id) == ("general", "talker", "user-123")
    assert (created.title, created.agent_id, created.template) == ("Mail", "a-1", "document_summary")
    assert (created.status, created.message_count, created.config) == ("active", 0, config)
    assert created.created_at == created.updated_at
    assert not created.HasField("last_message_at")
    got = await desk.get(created.id)
    assert got.SerializeToString(deterministic=True) == created.SerializeToString(deterministic=True)


def test_the_responses_that_are_a_session_have_its_fields_at_the_same_numbers() -> None:
    fields = {(f.number, f.name, f.type) for f in pb.ChatSession.DESCRIPTOR.fields}
    for response in (pb.CreateChatSessionResponse, pb.GetChatSessionResponse, pb.SetChatSessionStatusResponse):
        assert {(f.number, f.name, f.type) for f in response.DESCRIPTOR.fields} == fields


async def test_an_unset_type_is_general_and_an_unknown_one_is_refused(desk: Desk) -> None:
    assert (await desk.create()).session_type == "general"
    error = await refused(desk.create(session_type="nonsense"))
    assert (error.code, error.reason) == (Code.INVALID_ARGUMENT, "SESSION_TYPE_UNKNOWN")
    assert error.facts.violations[0].field == "session_type"


@pytest.mark.parametrize(
    ("config", "field", "reason"),
    [
        (struct(template="nonsense"), "config.template", "TEMPLATE_UNKNOWN"),
        (struct(template="agent_wizard"), "config.template", "TEMPLATE_UNKNOWN"),
        (struct(template=5), "config.template", "INVALID_ARGUMENT"),
        (struct(custom_parameters={"colour": "red"}), "config.custom_parameters.colour", "PARAMETER_UNKNOWN"),
        (struct(custom_parameters={"tone": ["a"]}), "config.custom_parameters.tone", "INVALID_ARGUMENT"),
        (struct(custom_parameters="tone"), "config.custom_parameters", "INVALID_ARGUMENT"),
        (struct(description=5), "config.description", "INVALID_ARGUMENT"),
        (struct(max_iterations=10), "config.max_iterations", "CONFIG_NOT_SUPPORTED"),
        (struct(validation_level="strict"), "config.validation_level", "CONFIG_NOT_SUPPORTED"),
        (struct(auto_finalize=False), "config.auto_finalize", "CONFIG_NOT_SUPPORTED"),
        (struct(custom_templates=[]), "config.custom_templates", "CONFIG_NOT_SUPPORTED"),
        (struct(text="x" * 70_000), "config", "INVALID_ARGUMENT"),
        (struct(number=float("nan")), "config", "INVALID_ARGUMENT"),
    ],
)
async def test_an_invalid_config_is_refused_with_the_name_of_the_field(
    desk: Desk, config: Struct, field: str, reason: str
) -> None:
    error = await refused(desk.create(config=config))
    assert (error.code, error.reason) == (Code.INVALID_ARGUMENT, reason)
    assert error.facts.violations[0].field == field


async def test_every_field_of_a_config_that_has_no_effect_is_named(desk: Desk) -> None:
    config = struct(template="agent_wizard", max_iterations=10, auto_finalize=True, description="Sorts mail")
    error = await refused(desk.create(session_type="agent_creation", config=config))
    assert [each.field for each in error.facts.violations] == ["config.max_iterations", "config.auto_finalize"]


@pytest.mark.parametrize(
    ("model", "code", "reason", "said"),
    [
        ("talkr", Code.NOT_FOUND, "MODEL_NOT_FOUND", "there is no model `talkr`; there are: talker"),
        ("remote/talker", Code.NOT_FOUND, "MODEL_NOT_FOUND", "there are: talker"),
        ("embedder", Code.INVALID_ARGUMENT, "MODEL_CAPABILITY_MISSING", "cannot hold a conversation"),
        ("local/embedder", Code.INVALID_ARGUMENT, "MODEL_CAPABILITY_MISSING", "cannot hold a conversation"),
    ],
)
async def test_a_session_with_a_model_that_cannot_answer_is_not_created(
    desk: Desk, model: str, code: Code, reason: str, said: str
) -> None:
    error = await refused(desk.create(model_name=model))
    assert (error.code, error.reason) == (code, reason)
    assert said in error.message
    with run_as(SOMEBODY):
        assert not (await desk.stub.ListChatSessions(pb.ListChatSessionsRequest())).sessions


@pytest.mark.parametrize("model", ["", "talker", "local/talker"])
async def test_a_model_is_named_as_requests_name_it(desk: Desk, model: str) -> None:
    assert (await desk.create(model_name=model)).model_name == model


async def test_a_session_must_name_a_model_if_the_default_is_missing(desk: Desk, fakes: Fakes) -> None:
    fakes.catalog.models = [Model(name="talker", provider="local", capabilities=[Model.CAPABILITY_CHAT]), EMBEDDER]
    error = await refused(desk.create())
    assert (error.reason, "default model is not there" in error.message) == ("MODEL_NOT_FOUND", True)
    assert (await desk.create(model_name="talker")).status == "active"


async def test_no_session_is_created_while_the_catalogue_is_away(desk: Desk, fakes: Fakes) -> None:
    fakes.catalog.failure = away()
    request_id = new_id()
    error = await refused(desk.create(request_id=request_id))
    assert (error.code, error.facts.retry_after) == (Code.UNAVAILABLE, 1.0)
    fakes.catalog.failure = None
    assert (await desk.create(request_id=request_id)).status == "active"


async def test_creating_again_with_the_same_request_id_makes_no_second_session(desk: Desk) -> None:
    request_id = new_id()
    created = await asyncio.gather(*(desk.create(title=str(n), request_id=request_id) for n in range(8)))
    assert len({session.id for session in created}) == 1
    other = await desk.create(COLLEAGUE, request_id=request_id)
    assert other.id != created[0].id


@pytest.mark.parametrize("owner", [COLLEAGUE, STRANGER])
async def test_other_callers_can_neither_see_nor_change_nor_delete_a_session(desk: Desk, owner: Principal) -> None:
    session = await desk.create()
    assert (await refused(desk.get(session.id, owner))).reason == "SESSION_NOT_FOUND"
    assert (await refused(desk.delete(session.id, owner))).reason == "SESSION_NOT_FOUND"
    with run_as(owner):
        listed = await desk.stub.ListChatSessions(pb.ListChatSessionsRequest())
        message = pb.SendChatMessageRequest(session_id=session.id, message="Hi")
        assert (await refused(desk.stub.SendChatMessage(message))).reason == "SESSION_NOT_FOUND"
    assert not listed.sessions
    assert (await desk.get(session.id)).status == "active"


async def test_pages_hold_every_session_once_the_newest_first(desk: Desk) -> None:
    made = [(await desk.create(user_id=f"u{n % 2}")).id for n in range(7)]
    seen: list[str] = []
    token = ""
    with run_as(SOMEBODY):
        while True:
            request = pb.ListChatSessionsRequest(page_size=3, page_token=token)
            page = await desk.stub.ListChatSessions(request)
            seen.extend(session.id for session in page.sessions)
            token = page.next_page_token
            if not token:
                break
            assert len(page.sessions) == 3
        odd = await desk.stub.ListChatSessions(pb.ListChatSessionsRequest(user_id="u1"))
    assert seen == made[::-1]
    assert [session.id for session in odd.sessions] == made[1::2][::-1]


@pytest.mark.parametrize("token", ["x", "MTox", "MjAwOjEyMw==", "9" * 40, "éé"])
async def test_a_forged_page_token_is_refused(desk: Desk, token: str) -> None:
    with run_as(SOMEBODY):
        request = pb.ListChatSessionsRequest(page_token=token)
        error = await refused(desk.stub.ListChatSessions(request))
    assert (error.code, error.facts.violations[0].field) == (Code.INVALID_ARGUMENT, "page_token")


async def test_a_page_token_is_valid_only_for_its_filters(desk: Desk) -> None:
    for _ in range(2):
        await desk.create(user_id="u0")
    with run_as(SOMEBODY):
        page = await desk.stub.ListChatSessions(pb.ListChatSessionsRequest(user_id="u0", page_size=1))
        request = pb.ListChatSessionsRequest(user_id="u1", page_token=page.next_page_token)
        error = await refused(desk.stub.ListChatSessions(request))
    assert error.reason == "PAGE_TOKEN_INVALID"


async def test_of_two_changes_with_the_same_etag_one_is_refused(desk: Desk) -> None:
    session = await desk.create()
    outcomes = await asyncio.gather(
        desk.set_status(session.id, "paused", session.etag),
        desk.set_status(session.id, "completed", session.etag),
        return_exceptions=True,
    )
    assert sum(isinstance(outcome, BaseException) for outcome in outcomes) == 1
    error = await refused(desk.set_status(session.id, "archived", session.etag))
    assert (error.code, error.reason) == (Code.ABORTED, "ETAG_MISMATCH")
    now = await desk.get(session.id)
    assert now.etag != session.etag
    assert (await desk.set_status(session.id, "archived", now.etag)).status == "archived"
    assert (await refused(desk.delete(session.id, etag=session.etag))).reason == "ETAG_MISMATCH"


async def test_an_invalid_change_of_status_is_refused_and_the_same_status_changes_nothing(desk: Desk) -> None:
    session = await desk.create()
    assert (await desk.set_status(session.id, "active")).etag == session.etag
    await desk.set_status(session.id, "archived")
    error = await refused(desk.set_status(session.id, "paused"))
    assert (error.code, error.reason) == (Code.FAILED_PRECONDITION, "STATUS_UNREACHABLE")
    assert error.facts.metadata == {"from": "archived", "to": "paused"}
    assert (await refused(desk.set_status(session.id, "running"))).code is Code.INVALID_ARGUMENT


async def test_deleting_a_session_deletes_its_messages(desk: Desk, fakes: Fakes) -> None:
    session = await desk.create()
    await desk.send(session.id)
    await desk.messages(session.id)
    assert ("acme", f"session:{session.id}") in fakes.memory.conversations
    await desk.delete(session.id)
    assert fakes.memory.conversations == {}
    assert (await refused(desk.get(session.id))).reason == "SESSION_NOT_FOUND"
    assert (await refused(desk.delete(session.id))).reason == "SESSION_NOT_FOUND"


async def test_an_interrupted_deletion_hides_the_session_and_is_completed_later(
    desk: Desk, fakes: Fakes, database: "OwnedDatabase"
) -> None:
    session = await desk.create()
    fakes.memory.failure = away()
    assert (await refused(desk.delete(session.id))).code is Code.UNAVAILABLE
    assert (await refused(desk.get(session.id))).reason == "SESSION_NOT_FOUND"
    assert (await refused(desk.send(session.id))).reason == "SESSION_NOT_FOUND"
    fakes.memory.failure = None
    await desk.delete(session.id, etag=session.etag)
    assert await database.fetchval("SELECT count(*) FROM orchestrator.chat_session") == 0


async def test_templates_and_models_are_listed(desk: Desk) -> None:
    with run_as(SOMEBODY):
        templates = (await desk.stub.ListChatTemplates(pb.ListChatTemplatesRequest())).templates
        models = (await desk.stub.ListChatModels(pb.ListChatModelsRequest())).models
    assert {template.name for template in templates} >= {"general_assistant", "agent_wizard"}
    assert sum(template.default for template in templates) == len({each.session_type for each in templates})
    assert [model.name for model in models] == ["talker"]
