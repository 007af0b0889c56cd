"""The page about providers says what the vendors' files say."""

import re
from dataclasses import fields

from services.model.known_models import Known, ModelFacts
from services.model.vendor import Chat, Completions, Embeddings, Limit, ListedPrices, Models, Server, Vendor
from tools.vendors import PAGE, page


def test_the_page_matches_the_vendors_files() -> None:
    assert PAGE.read_text("utf-8") == page(), "run python -m tools.vendors"


def test_every_key_of_a_vendors_file_is_explained() -> None:
    text = PAGE.read_text("utf-8")
    kinds = (Vendor, Server, Chat, Completions, Embeddings, Models, ListedPrices, Limit, Known, ModelFacts)
    # A vendor's name is that of its file.
    keys = {field.name for kind in kinds for field in fields(kind)}
    assert [key for key in sorted(keys) if not re.search(rf"`\[*{key}\]*`", text)] == []
