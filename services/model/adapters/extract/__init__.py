"""`soma-extract-v1`: answers by quoting what was said and what is remembered."""
