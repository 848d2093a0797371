"""Which parameters of a run are trained: by pattern, in towers with LoRA, and in the last layers of towers."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from flax import traverse_util
from ml_collections import ConfigDict

from emi_jax.errors import UserError
from emi_jax.models.lora import FACTORS
from emi_jax.train.optimizer import AFTER_LAYERS, LAYER


@dataclasses.dataclass(frozen=True)
class Freezing:
    """Patterns of parameter paths.

    Attributes:
        frozen: parameters that are not trained ...
        trained: ... except for these.
    """

    frozen: tuple[str, ...]
    trained: tuple[str, ...]

    @classmethod
    def of(cls, config: ConfigDict, towers: Mapping[str, Any]) -> "Freezing":
        """The patterns of a config for the parameters of its towers, or their shapes.

        Raises:
            UserError: more layers are to be trained than an encoder has, or those of an encoder that is not in use.
        """
        paths = list(traverse_util.flatten_dict({"towers": towers}, sep="/")) if towers else []
        frozen, trained = list(config.train.frozen), []
        if not towers:  # no encoder has weights
            frozen = [pattern for pattern in frozen if not pattern.startswith("^towers/")]
        if adapted := {path.split("/")[1] for path in paths if path.endswith(FACTORS)}:
            frozen += [f"^towers/{modality}/" for modality in sorted(adapted)]
            trained.append(f"/({'|'.join(FACTORS)})$")
        for modality, count in config.train.last_layers.items():
            if not count:
                continue
            matches = [match for path in paths if (match := LAYER.search(path))]
            layers = max((int(match[2]) + 1 for match in matches if match[1] == modality), default=0)
            if not 0 < count <= layers:
                raise UserError(
                    f"config.train.last_layers.{modality}={count}: the run's {modality} encoder has {layers} layers"
                )
            numbers = "|".join(map(str, range(layers - count, layers)))
            tower = f"^towers/{modality}/"
            frozen.append(tower)
            trained += [f"{tower}.*/transformer/layers_({numbers})/", f"{tower}.*/({AFTER_LAYERS})/"]
        present = [pattern for pattern in trained if any(re.search(pattern, path) for path in paths)]
        return cls(tuple(frozen), tuple(present))

    def trains(self, path: str) -> bool:
        """Whether the parameter at a path is trained."""
        return any(re.search(pattern, path) for pattern in self.trained) or not any(
            re.search(pattern, path) for pattern in self.frozen
        )
