"""The engine: one step mapped over devices, its state, checkpoints and loop. It depends on no particular stage."""
