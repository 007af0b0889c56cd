"""One file per vendor or engine behind the Provider protocol."""
