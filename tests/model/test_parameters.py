"""Parameters that a provider does not support are refused by name, or dropped on request."""

import json

import pytest
from soma.model.v1.model_service_pb2 import GenerateRequest
from soma.model.v1.options_pb2 import GenerationOptions, ReasoningOptions, ResponseFormat, Sampling

from services.mesh.call.errors import InvalidArgument
from services.model.adapters.local import LocalProvider
from services.model.parameters import MEMBERS, PARAMETERS, supported_request
from tests.model.vendors import VENDORS

EVERYTHING = GenerateRequest(
    options=GenerationOptions(
        sampling=Sampling(
            temperature=0.5,
            top_k=3,
            repetition_penalty=1.5,
            frequency_penalty=0.5,
            presence_penalty=0.5,
            seed=0,
            top_logprobs=0,
        ),
        reasoning=ReasoningOptions(effort="low"),
        response_format=ResponseFormat(type=ResponseFormat.TYPE_JSON_SCHEMA),
    ),
)


@pytest.mark.parametrize("lacks", [LocalProvider.lacks, *(vendor.chat.lacks for vendor in VENDORS.values())])
def test_every_adapter_names_only_existing_parameters(lacks: frozenset[str]) -> None:
    assert {name for name in lacks if not name.startswith(MEMBERS)} <= PARAMETERS.keys()


def test_unsupported_parameters_are_refused_by_field() -> None:
    with pytest.raises(InvalidArgument) as raised:
        supported_request(EVERYTHING, {"seed", "logprobs", "json_schema", "json_object"}, "lab")
    assert raised.value.reason == "PARAMETER_NOT_SUPPORTED"
    fields = [violation.field for violation in raised.value.facts.violations]
    assert fields == ["response_format", "sampling.seed", "sampling.top_logprobs"]


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_request_without_the_parameter_is_passed_on_unchanged(name: str) -> None:
    sampling = Sampling(repetition_penalty=1, frequency_penalty=0, presence_penalty=0)
    request = GenerateRequest(options=GenerationOptions(sampling=sampling))
    assert supported_request(request, {name}, "lab") == (request, [])


def test_dropping_removes_exactly_the_unsupported_fields_and_keeps_the_callers_request() -> None:
    request = GenerateRequest()
    request.CopyFrom(EVERYTHING)
    request.options.drop_params = True
    supported, dropped = supported_request(request, PARAMETERS.keys() - {"seed", "temperature"}, "lab")
    assert supported.options.sampling == Sampling(temperature=0.5, seed=0)
    assert not supported.options.HasField("response_format") and not supported.options.reasoning.HasField("effort")
    assert dropped == [
        "reasoning.effort",
        "response_format",
        "sampling.frequency_penalty",
        "sampling.presence_penalty",
        "sampling.repetition_penalty",
        "sampling.top_k",
        "sampling.top_logprobs",
    ]
    assert request.options.sampling.top_k == 3


def extended(drop: bool = False, **params: object) -> GenerateRequest:
    text = json.dumps(params) if params else ""
    return GenerateRequest(options=GenerationOptions(provider_params=text, drop_params=drop))


def test_members_of_provider_params_are_refused_by_name_if_the_provider_lacks_them() -> None:
    request = extended(min_p=0.1, service_tier="flex")
    assert supported_request(request, (), "lab") == (request, [])
    with pytest.raises(InvalidArgument) as raised:
        supported_request(request, {"provider_params.min_p"}, "lab")
    assert [each.field for each in raised.value.facts.violations] == ["provider_params.min_p"]
    with pytest.raises(InvalidArgument) as raised:
        supported_request(request, (), "lab", takes={"min_p"})
    assert raised.value.reason == "PARAMETER_NOT_SUPPORTED"
    assert [each.field for each in raised.value.facts.violations] == ["provider_params.service_tier"]


def test_dropping_keeps_the_other_members_of_provider_params() -> None:
    supported, dropped = supported_request(extended(drop=True, min_p=0.1, top_a=1, seed_pool=[]), (), "lab", {"min_p"})
    assert dropped == ["provider_params.seed_pool", "provider_params.top_a"]
    assert json.loads(supported.options.provider_params) == {"min_p": 0.1}
    supported, dropped = supported_request(extended(drop=True, min_p=0.1), (), "lab", set())
    assert (supported.options.provider_params, dropped) == ("", ["provider_params.min_p"])


@pytest.mark.parametrize(
    "name", ["temperature", "messages", "stream", "n", "max_completion_tokens", "audio", "modalities"]
)
def test_a_member_with_a_field_of_its_own_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        supported_request(extended(drop=True, **{name: 2}), (), "lab")
    assert raised.value.facts.violations[0].field == f"provider_params.{name}"


def test_text_may_be_asked_for_explicitly() -> None:
    request = extended(modalities=["text"])
    assert supported_request(request, (), "lab") == (request, [])


@pytest.mark.parametrize("text", ["[1]", "{", '"a"'])
def test_provider_params_that_are_no_object_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        supported_request(GenerateRequest(options=GenerationOptions(provider_params=text)), (), "lab")
