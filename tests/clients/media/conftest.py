"""Fixtures: the stack with a vendor of sounds and pictures."""

from tests.e2e.media.conftest import media_stack, shared_vendor, vendor

__all__ = ["media_stack", "shared_vendor", "vendor"]
