"""Everything worth measuring on an accelerator, in one command."""
