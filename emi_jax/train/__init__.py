"""The engine: one step mapped over devices, its state, checkpoints and loop. It knows no stage by name."""
