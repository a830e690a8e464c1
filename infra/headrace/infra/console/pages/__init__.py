"""One file a page: which questions it asks, and what it makes of the answers."""
