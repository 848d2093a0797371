"""Scripts that verify guarantees: recovery from kills, robustness to damaged files, encoder parity, memory."""
