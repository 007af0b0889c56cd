"""The shipped vendors, for tests that make a provider by hand."""

from services.model.vendor import load

VENDORS = load()
OPENAI, ANTHROPIC, COMPATIBLE = VENDORS["openai"], VENDORS["anthropic"], VENDORS["openai_compatible"]
