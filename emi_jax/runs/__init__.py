"""A config, a dataset and a folder made into something that trains, scores and predicts."""
