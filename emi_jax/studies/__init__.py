"""Many runs and what they say together: ablation, robustness, several seeds."""
