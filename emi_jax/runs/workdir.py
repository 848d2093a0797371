"""The folder of a run: its config, its metrics as JSON lines and TensorBoard events."""

import json
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emi_jax.errors import UserError

if TYPE_CHECKING:
    import tensorboardX


class Workdir:
    """The folder of a run. Only the first process writes."""

    def __init__(self, path: str | Path, writes: bool = True):
        """Makes the folder.

        Raises:
            UserError: it cannot be made or written.
        """
        self.path = Path(path).absolute()
        self._writes = writes
        if writes:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                (self.path / ".writable").touch()
                (self.path / ".writable").unlink()
            except OSError as error:
                raise UserError(
                    f"workdir {self.path} cannot be written: {error.strerror}; choose another --workdir"
                ) from error
        self._events: tensorboardX.SummaryWriter | None = None

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Keeps the run's config, or checks that it is the one with which the run was begun.

        Raises:
            UserError: fields differ from those of the run that is in the folder.
        """
        free = (*config["bindings"]["free"], "bindings")
        self._compare(
            config, lambda field: not within(field, free), "Use another --workdir, or delete this one to start anew"
        )
        self.write_json("config.json", config)

    def check_use(self, config: Mapping[str, Any]) -> None:
        """Checks that a config with which a trained run is used reads and models clips as the run's own does.

        Raises:
            UserError: fields differ from those of the run that is in the folder.
        """
        self._compare(
            config,
            lambda field: within(field, config["bindings"]["model"]),
            "Use it with the config and preset with which it was trained",
        )

    def _compare(self, config: Mapping[str, Any], counts: Callable[[str], bool], advice: str) -> None:
        path = self.path / "config.json"
        if not path.exists():
            return
        before, now = _flat(json.loads(path.read_text())), _flat(json.loads(json.dumps(config)))
        differing = [
            f"{field} was {before.get(field, 'absent')!r}, is {now.get(field, 'absent')!r}"
            for field in sorted(before.keys() | now.keys())
            if before.get(field) != now.get(field) and counts(field)
        ]
        if differing:
            raise UserError(f"workdir {self.path} holds a run of another config: {'; '.join(differing)}. {advice}")

    def write_json(self, name: str, content: Any) -> Path:
        """Writes a JSON file in one piece."""
        path = self.path / name
        if self._writes:
            part = path.with_name(path.name + ".part")
            part.write_text(json.dumps(content, indent=2) + "\n")
            part.replace(path)
        return path

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """Appends metrics to `metrics.jsonl` and to the TensorBoard events."""
        if not self._writes:
            return
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps({"step": step, **metrics}) + "\n")
        if self._events is None:
            import tensorboardX  # here, since it imports torch where it finds it

            self._events = tensorboardX.SummaryWriter(str(self.path / "events"))
        for name, value in metrics.items():
            self._events.add_scalar(re.sub(r"[^-/.\w]", "_", name), value, step)  # TensorBoard allows no others
        self._events.flush()

    def metrics(self) -> list[dict[str, float]]:
        """All recorded metrics, by step; of a step that was taken twice (a run killed and resumed) the last record."""
        path = self.path / "metrics.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        records: dict[tuple, dict[str, float]] = {}
        for line in lines:
            record = json.loads(line)
            records[(record["step"], frozenset(record))] = record
        return sorted(records.values(), key=lambda record: record["step"])


def within(field: str, sections: Collection[str]) -> bool:
    """Whether a dotted field is one of those named, or lies in one of them."""
    parts = field.split(".")
    return any(".".join(parts[:length]) in sections for length in range(1, len(parts) + 1))


def without(tree: Mapping[str, Any], fields: Collection[str], prefix: str = "") -> dict[str, Any]:
    """A config's tree without the dotted fields or sections named."""
    return {
        name: without(branch, fields, f"{prefix}{name}.") if isinstance(branch, Mapping) else branch
        for name, branch in tree.items()
        if prefix + name not in fields
    }


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, Mapping):
        return {prefix: tree}
    return {
        path: leaf for key, branch in tree.items() for path, leaf in _flat(branch, f"{prefix}.{key}".strip(".")).items()
    }
