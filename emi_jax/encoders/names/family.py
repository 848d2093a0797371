"""The names of one family of checkpoints, and what several families share."""

import dataclasses
import re
from collections.abc import Mapping

CLIP_LAYER = {
    "attention/query": "self_attn.q_proj",
    "attention/key": "self_attn.k_proj",
    "attention/value": "self_attn.v_proj",
    "attention/output": "self_attn.out_proj",
    "attention_norm": "layer_norm1",
    "mlp/hidden": "mlp.fc1",
    "mlp/output": "mlp.fc2",
    "mlp_norm": "layer_norm2",
}
CLIP_HEADS = ("logit_scale", r"(visual|text)_projection\..*", r".*\.position_ids")


@dataclasses.dataclass(frozen=True)
class Family:
    """The names of one family of checkpoints.

    Attributes:
        architecture: the Hugging Face class of the bare encoder.
        prefix: what the class with a head puts before every name of the encoder.
        modules: our module -> theirs, `{}` being the number of a layer. Modules with the same name there are packed:
            they are the rows of its tensors, in the order of this table.
        tensors: our parameter -> theirs, `{}` as above, for those whose last part is not one of `LEAVES`; packed
            likewise.
        ignored: patterns of the full names of tensors that belong to heads, other parts or buffers.
        dropped_axes: our parameter -> how many of its leading axes, all of size 1, theirs lacks.
        alternatives: other names under which checkpoints hold the same parameters; read, never written.
    """

    architecture: str
    prefix: str
    modules: Mapping[str, str]
    tensors: Mapping[str, str]
    ignored: tuple[str, ...]
    dropped_axes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    alternatives: "tuple[Family, ...]" = ()

    def names(self, name: str) -> bool:
        """Whether a tensor's full name is that of one of the modules."""
        module = re.sub(r"\.\d+\.", ".{}.", name.removeprefix(self.prefix)).rpartition(".")[0]
        return module in self.modules.values()

    def ignores(self, name: str) -> bool:
        """Whether the encoder does not need the tensor of this full name."""
        return any(re.fullmatch(pattern, name) for pattern in self.ignored)


def layers(ours: Mapping[str, str], theirs: str) -> dict[str, str]:
    """The modules of each transformer layer: our name -> theirs, below the name of their list of layers."""
    return {f"transformer/layers_{{}}/{name}": f"{theirs}.{{}}.{module}" for name, module in ours.items()}
