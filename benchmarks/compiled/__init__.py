"""Studies of compiled training and of throughput."""
