"""The providers: one file for each vendor or engine behind the Provider protocol."""
