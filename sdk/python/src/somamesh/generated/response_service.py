"""Builds the calls of ResponseService; generated from soma/orchestrator/v1/response_service.proto."""

from collections.abc import Sequence

from soma.orchestrator.v1 import response_service_pb2 as pb

from somamesh import responses
from somamesh.calls import Call, Listing, Page, no_value, unary, unchanged


def get_response(response_id: str, *, timeout: float | None = None) -> Call[responses.Response]:
    """Returns a stored response.

    Raises `NotFoundError` also for a response created with `store=False`.

    Args:
        response_id: Its id.
    """
    request = pb.GetResponseRequest(response_id=response_id)
    return unary(
        lambda mesh: mesh.response_service.GetResponse, request, responses.from_answer, repeatable=True, timeout=timeout
    )


def list_response_inputs(
    response_id: str, *, page_size: int = 0, newest_first: bool = False, timeout: float | None = None
) -> Listing[responses.InputItem]:
    """Lists what a stored response was made from. Pages are fetched while iterating.

    The items of the response that it continues are in the list.

    Args:
        response_id: Its id.
        page_size: Most items in a page; 20 when unset.
        newest_first: Whether the newest item comes first.
    """

    def read(response: pb.ListResponseInputItemsResponse) -> Page[responses.InputItem]:
        return Page([responses.from_input_item(each) for each in response.items], response.next_page_token)

    def page(token: str) -> Call[Page[responses.InputItem]]:
        request = pb.ListResponseInputItemsRequest(
            response_id=response_id, page_size=page_size, newest_first=newest_first, page_token=token
        )
        return unary(
            lambda mesh: mesh.response_service.ListResponseInputItems, request, read, repeatable=True, timeout=timeout
        )

    return Listing(page)


def delete_response(response_id: str, *, timeout: float | None = None) -> Call[None]:
    """Deletes a stored response.

    No other response can continue it then.

    Args:
        response_id: Its id.
    """
    request = pb.DeleteResponseRequest(response_id=response_id)
    return unary(
        lambda mesh: mesh.response_service.DeleteResponse, request, no_value, repeatable=False, timeout=timeout
    )


def cancel_response(response_id: str, *, timeout: float | None = None) -> Call[responses.Response]:
    """Stops a response that is being made, wherever it is made.

    A response that has ended does not change.

    Args:
        response_id: Its id.
    """
    request = pb.CancelResponseRequest(response_id=response_id)
    return unary(
        lambda mesh: mesh.response_service.CancelResponse,
        request,
        responses.from_answer,
        repeatable=True,
        timeout=timeout,
    )


def compact_response(
    *,
    model: str = "",
    input: Sequence[pb.ResponseInput] = (),
    previous_response_id: str = "",
    instructions: str = "",
    timeout: float | None = None,
) -> Call[pb.CompactResponseResponse]:
    """Makes a conversation shorter: a model sums up what the assistant and its tools said and did. The user's
    messages and the application's instructions stay as they are. Policy checks the conversation and the summary,
    and the summary is paid for like an answer.

    Args:
        model: Name of the model that sums up the conversation; empty for the default.
        input: The conversation, oldest first, after what `previous_response_id` has.
        previous_response_id: Id of the response whose conversation comes first: its own context, its input and
            its output. One of the two is needed.
        instructions: What the model should look out for in its summary.
    """
    request = pb.CompactResponseRequest(
        model=model, input=input, previous_response_id=previous_response_id, instructions=instructions
    )
    return unary(
        lambda mesh: mesh.response_service.CompactResponse, request, unchanged, repeatable=False, timeout=timeout
    )


def count_response_tokens(
    *,
    model: str = "",
    input: Sequence[pb.ResponseInput] = (),
    settings: pb.ResponseSettings | None = None,
    timeout: float | None = None,
) -> Call[pb.CountResponseTokensResponse]:
    """Returns how many tokens a model would read for a response. Policy checks the input, because the provider
    counts it if it can.

    Args:
        model: Name of the model; empty for the default.
        input: The input, as in CreateResponseRequest. It may be empty if the settings name a previous response.
        settings: How the response would be asked for. What a previous response or a conversation adds is counted
            too.
    """
    request = pb.CountResponseTokensRequest(model=model, input=input, settings=settings)
    return unary(
        lambda mesh: mesh.response_service.CountResponseTokens, request, unchanged, repeatable=False, timeout=timeout
    )
