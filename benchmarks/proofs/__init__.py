"""Scripts that prove a promise: nothing lost when killed, nothing broken by damaged files, parity, memory."""
