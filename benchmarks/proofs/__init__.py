"""Scripts that verify guarantees: nothing is lost when killed, damaged files break nothing, parity, memory."""
