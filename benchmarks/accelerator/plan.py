"""The measurements, in order of worth: what each runs, what it needs, and how long it may take."""

import dataclasses
import importlib.util
from collections.abc import Iterator

STAGES = ("stage1", "cached", "stage2")
"""Kinds of training: contrastive, intensities from cached features, intensities through frozen towers."""
ONLY = {"jax.remat": ("stage1",), "jax.cudnn": ("cached",)}
"""Sides that have an effect on some kinds of training alone."""
OURS = ("jax", "flax", "optax")
PACKAGES = {
    "jax": OURS,
    "torch": ("torch", "transformers"),
    "input": (
        *OURS,
        "grain",
        "tensorflow_datasets",
        "array_record",
        "cv2",
        "joblib",
        "soxr",
        "tokenizers",
        "transformers",
    ),
}
"""The packages that a measurement of our side, of PyTorch's, and of the input pipeline needs."""


@dataclasses.dataclass(frozen=True)
class Task:
    """One measurement, in a process of its own.

    Attributes:
        name: as given to `--tasks`.
        kind: the table it belongs to: `check`, `peak`, `speed` or `trace`.
        labels: what identifies its row: a case, a dtype and a side where it has them.
        arguments: the module that measures, and its options.
        seconds: after which it is stopped.
        needs: the packages that it imports.
    """

    name: str
    kind: str
    labels: dict[str, str]
    arguments: tuple[str, ...]
    seconds: float
    needs: tuple[str, ...] = OURS

    @property
    def missing(self) -> list[str]:
        """The packages that it needs and that are not installed."""
        return [package for package in self.needs if importlib.util.find_spec(package) is None]

    @property
    def untimed(self) -> "Task":
        """The same with the fewest steps, for what it compiles; a check as it is."""
        if self.kind != "speed":
            return self
        return dataclasses.replace(self, arguments=(*self.arguments, "--seconds=0", "--no-count"))


def tasks(device: str, timed: float) -> list[Task]:
    """All measurements on a device, the most useful first.

    Args:
        device: `cuda`, at the sizes of the paper, or `cpu`, at tiny sizes.
        timed: seconds of timed steps of each speed.
    """
    preset = {"cuda": "paper", "cpu": "tiny"}[device]

    def speeds(*sides: str, dtype: str = "bfloat16", stages: tuple[str, ...] = STAGES) -> Iterator[Task]:
        for stage in stages:
            for side in sides:
                if stage in ONLY.get(side, STAGES):
                    yield _speed(f"{stage}-{preset}", dtype, side, timed)

    return [
        _peak("bfloat16", "jax"),
        *map(_check, ("stage1", "stage2", "attention", "lstm")),
        *speeds("jax.remat", "jax", "torch.compile"),
        _trace(f"stage1-{preset}", "jax"),
        _trace(f"cached-{preset}", "jax"),
        _peak("bfloat16", "torch"),
        *speeds("torch.max-autotune", stages=("stage1", "cached")),
        *speeds("jax.cudnn"),
        _speed("input-paper", "float32", "jax", timed, needs="input"),
        *(_peak("float32", side) for side in ("jax", "torch")),
        *speeds("jax.remat", "jax", "torch.compile", dtype="float32"),
        *speeds("torch"),
        *speeds("torch", dtype="float32"),
    ]


def _peak(dtype: str, side: str) -> Task:
    arguments = ("benchmarks.comparison.peak", f"--side={side}", f"--dtype={dtype}")
    return Task(f"peak-{dtype}-{side}", "peak", {"dtype": dtype, "side": side}, arguments, 60, PACKAGES[side])


def _check(what: str) -> Task:
    arguments = ("benchmarks.accelerator.checks", f"--check={what}")
    return Task(f"check-{what}", "check", {"check": what}, arguments, 150)


def _speed(case: str, dtype: str, side: str, timed: float, needs: str = "") -> Task:
    options = {"side": side, "case": case, "dtype": dtype, "seconds": timed}
    arguments = ("benchmarks.comparison.worker", *(f"--{name}={value}" for name, value in options.items()), "--count")
    labels = {"case": case, "dtype": dtype, "side": side}
    packages = PACKAGES[needs or side.partition(".")[0]]
    return Task(f"{case}-{dtype}-{side}", "speed", labels, arguments, 240, packages)


def _trace(case: str, side: str) -> Task:
    arguments = ("benchmarks.accelerator.trace", f"--case={case}", f"--side={side}")
    return Task(f"trace-{case}", "trace", {"case": case, "dtype": "bfloat16", "side": side}, arguments, 150)
