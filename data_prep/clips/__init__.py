"""From the files of one clip to one example."""
