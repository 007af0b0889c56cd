"""Which vendors read the URLs of media themselves."""

from pathlib import Path

import pytest

from services.model.vendor import Vendor
from services.model.vendor_files import load

VENDORS = load()
PAGE = Path(__file__).parents[3] / "docs" / "models.md"


def test_a_server_in_ones_own_network_reads_no_urls() -> None:
    own = {name for name, vendor in VENDORS.items() if not vendor.server.url}
    assert {"vllm", "sglang", "tgi", "llamacpp", "lmstudio", "openai_compatible"} <= own
    assert {name for name in (*own, "ollama") if VENDORS[name].chat.reads_urls} == set()


@pytest.mark.parametrize("vendor", [each for each in VENDORS.values() if each.chat.reads_urls])
def test_only_the_vendors_own_server_reads_urls(vendor: Vendor) -> None:
    assert vendor.at(vendor.server.url).chat.reads_urls == vendor.chat.reads_urls
    for url in (
        "http://127.0.0.1:8000/v1",
        "https://proxy.internal/v1",
        vendor.server.url.replace("https://", "https://me."),
    ):
        behind = vendor.at(url)
        assert behind.chat.reads_urls == frozenset()
        assert (behind.name, behind.chat.lacks) == (vendor.name, vendor.chat.lacks)


def test_a_vendor_of_the_user_without_a_url_reads_what_its_file_says(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text('title = "Lab"\nabout = "x"\n[chat]\nreads_urls = ["image"]\n')
    assert load(tmp_path)["lab"].at("http://10.0.0.1/v1").chat.reads_urls == {"image"}


def test_the_page_about_models_names_the_vendors_that_read_urls() -> None:
    page = PAGE.read_text("utf-8")
    for kind, said in (("image", "a picture"), ("file", "a PDF")):
        titles = sorted((each.title for each in VENDORS.values() if kind in each.chat.reads_urls), key=str.lower)
        assert f"| {said} | {', '.join(titles)} |\n" in page
