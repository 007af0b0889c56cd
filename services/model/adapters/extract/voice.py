"""The fixed texts of `soma-extract-v1`. There are few, so that nobody takes it for a language model."""

from collections.abc import Sequence

NAME = "soma-extract-v1"

_LONGEST_QUOTE = 400
_NOTED = "Noted: "
_NOTHING = "I have nothing to answer that from."
_CLOSEST = "I find no sure answer. The closest is: "
_INTRODUCTION = f"I am {NAME}, which answers by quoting this conversation and what is remembered."
_HOW_TO_CONNECT = (
    "To talk to a language model, set OPENAI_API_KEY (with OPENAI_BASE_URL for another server that speaks OpenAI's "
    "protocol) or ANTHROPIC_API_KEY, run Ollama on this machine, or name a catalogue file in SOMA_MODEL_CATALOGUE; "
    "then start again. Or name a model that runs on this machine in your request: `soma models` lists them, and "
    "`soma models add FILE` adds a GGUF file."
)


def quoted(text: str, said_by: str) -> str:
    """A sentence in quotation marks, with its origin."""
    return f"“{_cut(text)}” — {said_by}"


def closest(quotations: str) -> str:
    """Quotations that may not answer the question."""
    return f"{_CLOSEST}{quotations}"


def acknowledged(statements: Sequence[str]) -> str:
    """The answer to statements; it promises only to quote them."""
    return (
        f"{_NOTED}“{_cut(' '.join(statements))}” "
        "Ask about it, and I quote it for as long as it is part of this conversation or remembered."
    )


def greeted() -> str:
    """The answer to a greeting."""
    return f"{_INTRODUCTION} Tell me something, or ask about something already said. {_HOW_TO_CONNECT}"


def nothing_found() -> str:
    """The answer when no passage matches."""
    return f"{_NOTHING} {_INTRODUCTION} {_HOW_TO_CONNECT}"


def is_own_voice(text: str) -> bool:
    """Whether a text is one of these texts, which are not quoted again."""
    return text.startswith(("“", _NOTED, _NOTHING, _CLOSEST, _INTRODUCTION, "Ask about it, and I quote"))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE].rstrip()} …"
