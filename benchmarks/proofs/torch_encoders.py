"""PyTorch encoders from `transformers` with random weights, and their outputs."""

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Case:
    """A model of the transformers package.

    Attributes:
        role: the modality that it encodes.
        model: name of its class.
        config: name of its config class.
        fields: config fields that differ from the defaults.
        padded: whether its inputs hold padding, which PyTorch's group norm would include in its statistics.
        golden: whether its outputs are stored in the repository; otherwise they are computed for each comparison.
    """

    role: str
    model: str
    config: str
    fields: dict[str, Any]
    padded: bool = True
    golden: bool = True


def make_model(case: Case, seed: int = 0, noise: float = 0.1) -> Any:
    """The case's PyTorch model with random weights; `noise` keeps biases and norms from their initial values."""
    import torch
    import transformers

    torch.manual_seed(seed)
    config = getattr(transformers, case.config)(**case.fields)
    model = getattr(transformers, case.model)(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(noise * torch.randn_like(parameter))
    return model.eval()


def run_torch(model: Any, inputs: np.ndarray, mask: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """PyTorch's outputs: `sequence`, `states` (all hidden states), and `pooled` if the class has it."""
    import torch

    arguments: dict[str, Any] = {model.main_input_name: torch.tensor(inputs)}
    if inputs.ndim == 4:
        arguments["pixel_values"] = arguments["pixel_values"].permute(0, 3, 1, 2)
    if mask is not None:
        arguments["attention_mask"] = torch.tensor(mask).long()
    with torch.no_grad():
        output = model(**arguments, output_hidden_states=True)
    sequence = output.last_hidden_state.numpy()
    if inputs.ndim == 4:  # a ViT's sequence is its patches, which come last
        patch = model.config.patch_size
        sequence = sequence[:, -(inputs.shape[1] // patch) * (inputs.shape[2] // patch) :]
    result = {
        "sequence": sequence,
        "states": np.stack([state.numpy() for state in output.hidden_states]),
    }
    if getattr(output, "pooler_output", None) is not None:
        result["pooled"] = output.pooler_output.numpy()
    return result
