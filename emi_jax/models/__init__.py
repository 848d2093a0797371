"""Flax modules: encoders, towers, contrastive pairs, the fusion. They do not depend on files, configs or devices."""
