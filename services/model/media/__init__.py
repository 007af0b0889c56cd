"""Pictures, sounds and documents of a request, as the adapters of providers need them."""
