"""Combines the predictions of several runs, or checks a submission.

python -m emi_jax.studies.ensemble runs/mine/crossval/folds/* --data=data/mine --output=runs/mine/ensemble
python -m emi_jax.studies.ensemble runs/one runs/two other.csv --data=data/mine --output=runs/ensemble --how=rank
python -m emi_jax.studies.ensemble runs/one --data=data/mine --output=runs/compared --compare=runs/two
python -m emi_jax.studies.ensemble --check runs/ensemble/predictions_test.csv --data=data/mine

A run's folder must hold predictions_SPLIT.csv, which `run.py` writes with --mode=evaluate or --mode=predict; for
--how=nnls also predictions_valid.csv of runs that were not trained on valid.
"""

import argparse
import logging
import sys
from collections.abc import Sequence

from emi_jax.errors import UserError
from emi_jax.files import path_option
from emi_jax.inputs.dataset import clip_id, open_dataset
from emi_jax.report.exits import fail, is_explained
from emi_jax.runs.ensemble import HOW, MEAN, combine
from emi_jax.runs.submission import check_submission


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m emi_jax.studies.ensemble",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sources", nargs="*", type=path_option, help="folders of runs, or CSVs of predictions")
    parser.add_argument(
        "--data", required=True, type=path_option, help="dataset, the folder given to data_prep as --out"
    )
    parser.add_argument("--split", default="test", help="split that is predicted (default: test)")
    parser.add_argument("--output", type=path_option, help="folder for the combined predictions and their scores")
    parser.add_argument("--how", choices=HOW, help="mean (default), mean of ranks, or weights fitted on valid")
    parser.add_argument("--compare", type=path_option, help="a run or CSV to compare the combined predictions with")
    parser.add_argument(
        "--check", type=path_option, help="check this CSV against the clips of the split; combine nothing"
    )
    options = parser.parse_args(arguments)
    if bool(options.check) == bool(options.sources) or bool(options.output) != bool(options.sources):
        parser.error("name the runs or CSVs to combine and their --output, or a CSV to --check")
    if options.check and (options.compare or options.how):
        parser.error("--compare and --how are for combined predictions; --check combines nothing")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        dataset = open_dataset(options.data, "python -m data_prep")
        if options.check:
            index = dataset.index(options.split)
            ids = [clip_id(index[row]) for row in range(len(index))]
            check_submission(options.check, ids, dataset.label_names, dataset.label_range)
            print(f"{options.check}: the predictions of all {len(ids)} clips of {options.split}, in order and in range")
            return 0
        summary = combine(options.sources, dataset, options.split, options.output, options.how or MEAN, options.compare)
    except (UserError, OSError) as error:
        if not is_explained(error):
            raise
        return fail(error)
    print(summary.table, *(f"written: {path}" for path in summary.written), summary.verdict, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
