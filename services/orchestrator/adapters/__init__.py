"""The neighbours a turn needs, each behind what the turn asks of it."""
