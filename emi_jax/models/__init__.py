"""Flax modules: encoders, towers, contrastive pairs, the fusion. They know nothing of files, configs or devices."""
