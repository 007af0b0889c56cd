"""The page about settings agrees with the settings classes."""

from cli.effective_settings import settings_classes
from tools.configuration import PAGE, page


def test_the_page_agrees_with_the_settings_classes() -> None:
    assert PAGE.read_text("utf-8") == page(), "run python -m tools.configuration"


def test_every_setting_says_what_it_is_for() -> None:
    silent = [
        f"{kind.__name__}.{name}"
        for kind in settings_classes()
        for name, f in kind.model_fields.items()
        if not f.description
    ]
    assert silent == []
