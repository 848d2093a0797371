"""The fields of the studies on stage 2, and which fields a config has."""

from typing import Any

from configs.fields import Field, Section
from configs.sections import NOTHING, STAGE_1, STAGE_2

LAUNCH: Section = {
    "processes": Field(1, "parts done at the same time, each in a process of its own", NOTHING),
    "launcher": Field("local", "local, or slurm: write a script for a job array instead of running", NOTHING),
    "index": Field(-1, "do the part of this number alone, as a task of a job array does; -1: all of them", NOTHING),
}
"""How the parts of a study are done: the runs of a sweep, the folds, the cells of a grid."""

STUDY: Section = {
    **STAGE_2,
    "study": Field("", "name of the study: ablation, heads or robustness"),
    "launch": LAUNCH,
    "grid": {
        "folder": Field("", "folder of the grid's trained cells, ROOT/ablation by default"),
        "seeds": Field((0, 1, 2, 3, 4), "seeds of each cell, trained side by side"),
        "cells": Field((), "(name, title, changes) of each cell; a change is (field, value)"),
        "reference": Field("full", "name of the cell with which the others are compared", NOTHING),
        "only": Field((), "names of the cells to run, as ('full', 'no-qam'); () for all", NOTHING),
    },
}

CROSSVAL: Section = {
    **STAGE_2,
    "study": Field("", "name of the study: crossval"),
    "launch": LAUNCH,
    "crossval": {
        "folds": Field(5, "folds over the subjects; with as many as there are subjects or more, each is one fold"),
        "seed": Field(0, "seed of the assignment of subjects with equally many clips"),
        "splits": Field(("train", "valid"), "splits whose clips are in the folds; with test, all of them are"),
    },
}

SWEEP: Section = {
    **STAGE_2,
    "study": Field("", "name of the study: sweep"),
    "launch": LAUNCH,
    "sweep": {
        "fields": Field(
            (),
            "(field, kind, values) of each; kind: values, a list, or uniform or log, a range",
            NOTHING,
        ),
        "samples": Field(0, "settings that are drawn at random; 0: a grid, every combination of values", NOTHING),
        "seed": Field(0, "seed of the draws", NOTHING),
        "seeds": Field((0,), "seeds of training; a setting has one run for each, and its score is their mean", NOTHING),
    },
}


def section_of(config: Any) -> Section:
    """The definitions of a config's fields."""
    if "grid" in config:
        return STUDY
    if "crossval" in config:
        return CROSSVAL
    if "sweep" in config:
        return SWEEP
    return STAGE_1 if config["stage"] == "alignment" else STAGE_2
