"""The three modalities, in the order of every `[B, 3]` array."""

VISION, AUDIO, TEXT = MODALITIES = ("vision", "audio", "text")
