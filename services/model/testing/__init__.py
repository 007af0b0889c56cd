"""A kit to test what asks model vendors: their servers, played by real HTTP servers."""
