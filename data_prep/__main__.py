"""`python -m data_prep`: prepares a corpus, or checks a prepared dataset."""

import argparse
import sys

from data_prep.build.prepare import prepare_here
from data_prep.command import clip_options, parse, request_of, run_command
from emi_jax.report.terminal import printable

FAULTS = 1
"""Exit code when --check found problems; no other outcome uses it."""


def main() -> int:
    """Runs the command line and returns the exit code."""
    arguments = parse()
    return run_command(lambda: _check(arguments) if arguments.check else _prepare(arguments))


def _prepare(arguments: argparse.Namespace) -> int:
    request, options = request_of(arguments), clip_options(arguments)
    print(prepare_here(request, arguments.out, options, arguments.processes, arguments.time_limit or None).summary())
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from data_prep.build.check import check_dataset  # TFDS is not needed for --help

    faults = check_dataset(arguments.check, request_of(arguments) if arguments.source else None)
    print("\n".join(map(printable, faults)) or f"{arguments.check}: no faults found")
    return FAULTS if faults else 0


if __name__ == "__main__":
    sys.exit(main())
