"""Studies over many runs: ablation, robustness, several seeds."""
