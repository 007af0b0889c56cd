"""Writes the tables of `docs/providers.md` from the vendors' files; a test fails while they differ."""

from collections.abc import Iterator
from pathlib import Path

from services.model.vendor import Vendor
from services.model.vendor_files import load

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "providers.md"
BEGIN = "<!-- from services/model/vendors: python -m tools.vendors -->\n"


def tables() -> str:
    """A table of all vendors, what each lacks, and what is particular about it."""
    vendors = list(load().values())
    return "\n".join([*_found(vendors), "", *_lacking(vendors), "", *_prices(vendors), "", *_quirks(vendors), ""])


def page() -> str:
    """The page as it has to be: what people wrote, then the tables."""
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
        said = _names(needed)
        if server.always:
            said, others = "nothing, on this machine", needed
        elif not needed:
            said, others = " or ".join(f"`{name}`" for name in others) or "an entry of the catalogue file", []
        also = _names(others) or "–"
        method = vendor.embeddings
        vectors = "–" if method is None else "text, token numbers" if method.tokens else "text"
        if method is not None and not method.dimensions:
            vectors += "; one length"
        yield f"| [{vendor.title}]({vendor.about}) | `{vendor.name}` | {said} | {also} | {vectors} |"


def _lacking(vendors: list[Vendor]) -> Iterator[str]:
    yield "## What they lack\n"
    yield "A request with one of these fields is refused with `PARAMETER_NOT_SUPPORTED`, or goes without it if it says"
    yield "`drop_params`. What a vendor may also lack, but nobody has written down, the vendor refuses itself.\n"
    yield "| vendor | cannot honour |\n|---|---|"
    for vendor in vendors:
        lacks = [*sorted(vendor.chat.lacks), *(() if vendor.chat.tools else ("tools",))]
        if lacks:
            yield f"| {vendor.title} | {_names(lacks)} |"


def _prices(vendors: list[Vendor]) -> Iterator[str]:
    yield "## Prices and context windows\n"
    yield "The list of models has them as far as they are known; an unknown price is not set, and never 0. With a day"
    yield "they are as two public collections of the vendors' price lists have them; where these differ, none is set.\n"
    yield "| vendor | from | as of | models |\n|---|---|---|---|"
    for vendor in vendors:
        if vendor.models.prices is not None:
            yield f"| {vendor.title} | its own list of models | when it was last asked | all it lists |"
        elif vendor.known is not None:
            known = vendor.known
            yield f"| {vendor.title} | [its price list]({known.source}) | {known.as_of} | {len(known.models)} |"


def _quirks(vendors: list[Vendor]) -> Iterator[str]:
    yield "## What is particular about them\n"
    for vendor in vendors:
        if vendor.quirks:
            yield f"**{vendor.title}.** {' '.join(vendor.quirks)}\n"


def _names(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
