"""One clip: from its files to one example."""
