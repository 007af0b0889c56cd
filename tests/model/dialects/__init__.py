"""The protocol of each vendor according to its documentation, and a fake server that follows it."""
