"""The command line: its options, what each mode runs, and predictions of new clips."""
