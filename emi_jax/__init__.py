"""Emotional mimicry intensity from face, voice and words: a dual-stage cross-modal system in JAX."""
