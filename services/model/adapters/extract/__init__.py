"""`soma-extract-v1`: answers with quotations from the conversation and from memory."""
