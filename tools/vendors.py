"""Writes the tables of `docs/providers.md` from the vendors' files; a test fails while they differ."""

from collections.abc import Iterator
from pathlib import Path

from services.model.methods import Method
from services.model.vendor import Vendor
from services.model.vendor_files import load

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "providers.md"
BEGIN = "<!-- from services/model/vendors: python -m tools.vendors -->\n"


def tables() -> str:
    """The generated sections: the vendors, what they lack, thoughts, completions, prices and other differences."""
    vendors = list(load().values())
    return "\n".join(
        [
            *_found(vendors),
            "",
            *_lacking(vendors),
            "",
            *_thinking(vendors),
            "",
            *_completing(vendors),
            "",
            *_specialists(vendors),
            "",
            *_prices(vendors),
            "",
            *_quirks(vendors),
            "",
        ]
    )


def page() -> str:
    """The page as it must be: the text that people wrote, then the generated sections."""
    written, _, _ = PAGE.read_text("utf-8").partition(BEGIN)
    return f"{written}{BEGIN}\n{tables()}"


def _found(vendors: list[Vendor]) -> Iterator[str]:
    yield "## The vendors\n"
    yield "| vendor | name | set | also read | vectors |\n|---|---|---|---|---|"
    for vendor in vendors:
        server = vendor.server
        given = {"key": server.key_variables, "url": server.url_variables, "models": server.models_variables}
        needed = [given[each][0] for each in server.needs]
        others = [name for names in given.values() for name in names if name not in needed]
        others += [name for names in server.query_variables.values() for name in names]
        variables = _names(needed)
        if server.always:
            variables, others = "nothing, on this machine", needed
        elif not needed:
            variables, others = " or ".join(f"`{name}`" for name in others) or "an entry of the catalogue file", []
        also = _names(others) or "–"
        method = vendor.embeddings
        vectors = "–" if method is None else "text, token numbers" if method.tokens else "text"
        if method is not None and not method.dimensions:
            vectors += "; one length"
        yield f"| [{vendor.title}]({vendor.about}) | `{vendor.name}` | {variables} | {also} | {vectors} |"


def _lacking(vendors: list[Vendor]) -> Iterator[str]:
    yield "## What they lack\n"
    yield "A request with one of these fields is refused with `PARAMETER_NOT_SUPPORTED`. If it has `drop_params`, the"
    yield "field is left out instead. If a vendor lacks other fields, the vendor itself refuses them.\n"
    yield "| vendor | does not support | the only members of `provider_params` |\n|---|---|---|"
    for vendor in vendors:
        lacks = [*sorted(vendor.chat.lacks), *(() if vendor.chat.tools else ("tools",))]
        takes = sorted(vendor.chat.takes) if vendor.chat.takes is not None else []
        if lacks or takes:
            yield f"| {vendor.title} | {_names(lacks) or '–'} | {_names(takes) or 'any'} |"


def _thinking(vendors: list[Vendor]) -> Iterator[str]:
    yield "## Thoughts\n"
    yield "How the thoughts of a model go back to the vendor, and where a request says how much the model thinks. A"
    yield "vendor without a limit refuses `reasoning.budget_tokens`.\n"
    yield "| vendor | thoughts go back as | effort | limit |\n|---|---|---|---|"
    for vendor in vendors:
        chat = vendor.chat
        if vendor.protocol != "chat_completions":
            continue
        back = f"`{chat.thoughts}`" if chat.thoughts else "–"
        if chat.thoughts == "parts":
            back = "parts of the content"
        if chat.thoughts_of == "tool_turns":
            back += ", in turns with tool calls"
        if chat.signatures:
            back += ", and signatures of calls" if chat.thoughts else ", but signatures of calls"
        effort = "–" if "reasoning_effort" in chat.lacks else f"`{chat.effort}`"
        yield f"| {vendor.title} | {back} | {effort} | {f'`{chat.budget}`' if chat.budget else '–'} |"


def _completing(vendors: list[Vendor]) -> Iterator[str]:
    yield "## Completions of prompts\n"
    yield "The vendors with a method for completions, and what it lacks beside thinking. The other vendors, and other"
    yield "models of these, get a prompt as a message, and have neither `suffix` nor `best_of`.\n"
    yield "| vendor | path | models | does not support | the only members of `provider_params` |\n|---|---|---|---|---|"
    for vendor in vendors:
        if (method := vendor.completions) is not None:
            models, lacks = _names(list(method.models)) or "all", _names(sorted(method.lacks)) or "–"
            takes = "any" if method.takes is None else _names(sorted(method.takes)) or "none"
            yield f"| {vendor.title} | `{method.path}` | {models} | {lacks} | {takes} |"


def _specialists(vendors: list[Vendor]) -> Iterator[str]:
    yield "## Sound, pictures, judgements and orders\n"
    yield "The methods that a vendor has beside chat and vectors, and the members that it does not have. A vendor that"
    yield "is not in the table has none.\n"
    yield "| vendor | transcripts | speech | pictures | judges | sorts |\n|---|---|---|---|---|---|"
    for vendor in vendors:
        methods = (vendor.transcriptions, vendor.speech, vendor.images, vendor.moderations, vendor.rerank)
        if not any(methods):
            continue
        heard = _having(vendor.transcriptions)
        if vendor.transcriptions is not None:
            details = [each for each in vendor.transcriptions.details if each != "text"]
            heard += f"; {', '.join(details)}" + ("; translations" if vendor.transcriptions.translations else "")
            heard += "; streams" if vendor.transcriptions.streams else ""
        drawn = _having(vendor.images)
        if vendor.images is not None:
            drawn += ("; changes" if vendor.images.edits else "") + ("; streams" if vendor.images.streams else "")
        judged = _having(vendor.moderations)
        if vendor.moderations is not None:
            judged = "texts, pictures" if vendor.moderations.images else "texts"
        cells = (heard, _having(vendor.speech), drawn, judged, _having(vendor.rerank))
        yield f"| {vendor.title} | {' | '.join(cells)} |"


def _having(method: Method | None) -> str:
    if method is None:
        return "–"
    return f"yes, without {_names(sorted(method.lacks))}" if method.lacks else "yes"


def _prices(vendors: list[Vendor]) -> Iterator[str]:
    yield "## Prices and context windows\n"
    yield "The list of models has the prices and context windows that are known. An unknown price is not set, and never"
    yield "0. The models of a row with a day have the values of two public collections of price lists, models.dev and"
    yield "genai-prices, from that day. If the two differ, no price is set. Compare a price with the vendor's own list"
    yield "before you rely on it.\n"
    yield "| vendor | compare with | as of | models |\n|---|---|---|---|"
    for vendor in vendors:
        if vendor.models.prices is not None:
            yield f"| {vendor.title} | its own list of models | when it was last asked | all it lists |"
        elif vendor.known is not None:
            known = vendor.known
            yield f"| {vendor.title} | [its price list]({known.source}) | {known.as_of} | {len(known.models)} |"


def _quirks(vendors: list[Vendor]) -> Iterator[str]:
    yield "## Other differences\n"
    for vendor in vendors:
        if vendor.quirks:
            yield f"**{vendor.title}.** {' '.join(vendor.quirks)}\n"


def _names(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
