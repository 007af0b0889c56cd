"""The model service: providers, their catalogue, generation and its usage ledger."""
