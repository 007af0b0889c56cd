"""Content that is a string or an array of parts, as OpenAI's messages, items and outputs of tools have it."""

from collections.abc import Mapping

from gateway.edge.openai.values import members, one_of, required, text, unsupported, wrong_type

TEXTS = ("text", "refusal")


def read_text(value: object, param: str, parts: Mapping[str, str]) -> str:
    """The text of a string or of text parts; several parts stand on lines of their own.

    `parts` are the types of parts there are: the member that holds their text, one of `TEXTS`, or what it is that is
    not supported.

    Raises:
        InvalidArgument: names the member at fault.
    """
    if type(value) is str:
        return value
    if type(value) is not list:
        wrong_type(value, param, "one of a string or array of objects")
    texts = []
    for index, part in enumerate(value):
        where = f"{param}[{index}]"
        kind = one_of(required(members(part, where), "type", where), f"{where}.type", parts)
        name = parts[kind]
        if name not in TEXTS:
            unsupported(where, f"{name} ('{kind}') is not supported here: '{where}'.")
        texts.append(text(required(part, name, where), f"{where}.{name}"))
    return "\n".join(texts)
