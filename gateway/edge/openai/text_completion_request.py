"""A request to complete prompts: its parameters, and its translation to one ChatRequest for each choice."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import ConfigDict, Field, with_config
from soma.errors.v1 import reasons
from soma.model.v1.message_pb2 import ROLE_USER
from soma.model.v1.options_pb2 import Completion, GenerationOptions
from soma.orchestrator.v1.chat_service_pb2 import ChatRequest

from gateway.edge.openai import sampling, shared
from gateway.edge.openai.ask import Ask
from gateway.edge.openai.choices import requests
from gateway.edge.openai.content import Content
from gateway.edge.openai.extension import Extension, extension_of
from gateway.edge.openai.text_completion import TextForm
from gateway.edge.openai.words import BODY, missing, refuse
from gateway.edge.provider_params import sent
from gateway.edge.request_model import Reader

# As for `n`: each choice is a generation of its own.
MOST_CHOICES = 128
# Parameters of chats that completions do not have.
UNSUPPORTED = frozenset({"conversation", "parallel_tool_calls", "top_logprobs"})
# Values that have no effect, of parameters that the contract has no field for.
NO_EFFECT: dict[str, Any] = {"logit_bias": {}}
Prompts = Annotated[list[Any], Field(min_length=1, max_length=MOST_CHOICES)]


@with_config(ConfigDict(strict=True, extra="allow"))
class TextCompletionRequest(shared.Parameters, total=False):
    """The parameters that are read; null is the same as an absent parameter. Others reach the provider as they are."""

    prompt: Content[Prompts] | None
    suffix: str | None
    echo: bool | None
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None
    best_of: Annotated[int, Field(ge=1, le=20)] | None
    max_tokens: shared.Tokens | None
    frequency_penalty: sampling.Penalty | None
    presence_penalty: sampling.Penalty | None
    stop: sampling.Stops | None
    seed: sampling.Seed | None
    logprobs: shared.Logprobs | None
    stream_options: sampling.StreamOptions | None


READER = Reader(TextCompletionRequest, BODY)
READ = frozenset(TextCompletionRequest.__annotations__)


@dataclass(slots=True)
class TextAsk(Ask):
    """A request to complete prompts.

    Attributes:
        prompts: the prompts; the choices of the first come first.
        echo: a completion begins with its prompt.
    """

    prompts: list[str] = field(default_factory=list)
    echo: bool = False

    @property
    def form(self) -> TextForm:
        echoed = self.request.options.completion.echo
        return TextForm([prompt for prompt in self.prompts for _ in range(self.each)], self.echo and not echoed, echoed)

    @property
    def choices(self) -> int:
        return len(self.prompts) * self.each

    def turns(self) -> list[ChatRequest]:
        """The turn of each choice."""
        asked = []
        for prompt in self.prompts:
            one = ChatRequest()
            one.CopyFrom(self.request)
            one.messages[0].content = prompt
            asked += requests(one, self.each)
        return asked


def read_text_completion_request(body: bytes | bytearray) -> TextAsk:
    """Read the body of a request.

    Raises:
        InvalidArgument: with OpenAI's message; the first violation is the parameter at fault.
    """
    given = READER.json(body)
    extension = extension_of(given.get("soma"))
    left_out = shared.dropped(_unsupported(given, extension), extension)
    prompts = _prompts(given)
    shared.check_stream_options(given)
    each = given.get("n") or 1
    if len(prompts) * each > MOST_CHOICES:
        message = f"Invalid 'n': {len(prompts)} prompts with {each} choices each are more than {MOST_CHOICES} choices."
        refuse(message, "n", reasons.INVALID_VALUE)
    request = ChatRequest(model=given.get("model") or "", options=_options(given, extension))
    request.messages.add(role=ROLE_USER, content=prompts[0])
    return TextAsk(
        request=request,
        stream=bool(given.get("stream")),
        include_usage=bool((given.get("stream_options") or {}).get("include_usage")),
        each=each,
        extension=extension,
        dropped=left_out,
        prompts=prompts,
        echo=bool(given.get("echo")),
    )


def _unsupported(given: TextCompletionRequest, extension: Extension) -> Iterator[str]:
    """The parameters of the request that are not supported."""
    for name, value in given.items():
        if name in UNSUPPORTED and value is not None:
            yield name
    if extension.strategy is not None:
        yield "soma.strategy"


def _prompts(given: TextCompletionRequest) -> list[str]:
    asked = given.get("prompt")
    if asked is None:
        missing("prompt")
    prompts = [asked] if isinstance(asked, str) else asked
    for index, prompt in enumerate(prompts):
        where = "prompt" if isinstance(asked, str) else f"prompt[{index}]"
        if isinstance(prompt, int | list):
            # Policy reads prompts, and cannot read numbers.
            message = "Invalid 'prompt': token numbers are not supported here; send the prompt as text."
            refuse(message, "prompt", reasons.UNSUPPORTED_PARAMETER)
        if not isinstance(prompt, str):
            refuse(f"Invalid type for '{where}': expected a string.", where, reasons.INVALID_TYPE)
        if not prompt:
            refuse(f"Invalid '{where}': empty string. Expected at least one character.", where, reasons.INVALID_VALUE)
    return prompts


def _options(given: TextCompletionRequest, extension: Extension) -> GenerationOptions:
    logprobs = given.get("logprobs")
    options = GenerationOptions(
        sampling=sampling.sampling_of(given, logprobs),
        user=given.get("user") or "",
        drop_params=extension.drop_params,
        whole=not given.get("stream"),
        # The edge adds a prompt by itself, unless the probabilities of its tokens are asked for, too.
        completion=Completion(suffix=given.get("suffix") or "", echo=bool(given.get("echo")) and logprobs is not None),
    )
    names = [name for name, value in given.items() if name not in READ and value != NO_EFFECT.get(name)]
    names += shared.wanted_tier(given.get("service_tier"))
    names += _best_of(given)
    if params := sent(given, names):
        options.provider_params = params
    return options


def _best_of(given: TextCompletionRequest) -> tuple[str, ...]:
    """The name of the parameter, if it asks the provider for more candidates than choices."""
    candidates, choices = given.get("best_of"), given.get("n") or 1
    if candidates is None or candidates == choices:
        return ()
    if candidates < choices:
        refuse("Invalid 'best_of': it must be at least 'n'.", "best_of", reasons.INVALID_VALUE)
    if choices > 1:
        message = "Invalid 'best_of': each choice is a generation of its own, so it has to be equal to 'n' above 1."
        refuse(message, "best_of", reasons.INVALID_VALUE)
    if given.get("stream"):
        message = "Invalid 'best_of': the best of several candidates cannot be streamed."
        refuse(message, "best_of", reasons.INVALID_VALUE)
    return ("best_of",)
