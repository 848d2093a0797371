"""The two training stages: each gives the engine its parameters, its loss, its forward pass and its scores."""
