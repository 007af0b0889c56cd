"""The shipped vendors, for tests that make a provider by hand, and the variables that find them."""

from services.model.vendor_files import load

VENDORS = load()
OPENAI, ANTHROPIC, COMPATIBLE = VENDORS["openai"], VENDORS["anthropic"], VENDORS["openai_compatible"]

# All variables that configure a vendor or a proxy. A developer's environment may have some of them.
VARIABLES = frozenset(
    name
    for vendor in VENDORS.values()
    for names in (
        vendor.server.key_variables,
        vendor.server.url_variables,
        vendor.server.models_variables,
        *vendor.server.query_variables.values(),
    )
    for name in names
) | {"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy"}
