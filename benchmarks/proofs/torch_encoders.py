"""PyTorch encoders from `transformers` with random weights, and their outputs."""

import dataclasses
import warnings
from typing import Any

import numpy as np

from benchmarks.proofs.torch_audio import emotion_model, pool_steps, read_clips


@dataclasses.dataclass(frozen=True)
class Case:
    """A model of the transformers package.

    Attributes:
        role: the modality that it encodes.
        model: name of its class, or "EmotionModel" for audeering's.
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
    model = (emotion_model if case.model == "EmotionModel" else getattr(transformers, case.model))(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(noise * torch.randn_like(parameter))
    return model.eval()


def run_torch(model: Any, inputs: np.ndarray, mask: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """PyTorch's outputs: `sequence`, `states` (all hidden states), and `pooled`: for audio the mean of valid steps."""
    import torch

    audio = inputs.ndim == 2 and inputs.dtype == np.float32
    if audio:
        arguments = read_clips(model, inputs, mask)
        model = model.get_encoder() if model.config.is_encoder_decoder else model
    else:
        arguments = {model.main_input_name: inputs.transpose(0, 3, 1, 2) if inputs.ndim == 4 else inputs}
        arguments |= {} if mask is None else {"attention_mask": mask.astype(np.int64)}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask")  # of WavLM's attention
        tensors = {name: torch.tensor(array) for name, array in arguments.items()}
        output = model(**tensors, output_hidden_states=True)
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
    elif audio:
        result["pooled"] = pool_steps(model, sequence, arguments)
    return result
