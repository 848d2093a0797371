"""The head of the 2025 winner (arXiv 2504.11460): an LSTM over each of voice and face, and the text's class token."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from emi_jax.modalities import AUDIO, MODALITIES, TEXT, VISION, in_order
from emi_jax.models.dense import Dense, torch_uniform
from emi_jax.models.lstm import LSTM
from emi_jax.models.pooling import TOKENS, text_vector
from emi_jax.models.quality import unweighted, valid_steps


class Concatenation(nn.Module):
    """Concatenates the last LSTM states of voice and frames and the text's vector; Linear, tanh, Linear follow.

    As in the winner's public code, where the voice has 1027 features (hidden states and three outputs of its encoder),
    the frames 1280 and the text 768. The output is linear: predictions are clipped to [0, 1] outside of training.

    Attributes:
        num_labels: K.
        width: hidden width of the two linear layers.
        audio_hidden: units of the voice's LSTM; 0 = as many as the voice has features.
        vision_hidden: units of the frames' LSTM.
        num_layers: depth of both LSTMs.
        token: the token that stands for the text, one of `TOKENS`.
        modalities: in use; the others are left out of the concatenation. A modality that a clip lacks is zeros.
        dtype: dtype of the operands of matrix products.
    """

    num_labels: int
    width: int = 1027
    audio_hidden: int = 0
    vision_hidden: int = 768
    num_layers: int = 2
    token: str = "first"
    modalities: tuple[str, ...] = MODALITIES
    dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            ValueError: an unknown token.
        """
        if self.token not in TOKENS:
            raise ValueError(f"token = {self.token!r}: choose one of {TOKENS}")
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        features: Mapping[str, Array],
        masks: Mapping[str, Array],
        times: Mapping[str, Array],
        present: Array,
        deterministic: bool = True,
    ) -> tuple[Array, dict[str, Any]]:
        """Predicts the intensities; arguments and results as in `Fusion`, with equal weights and no quality logits.

        With `deterministic=False`, predictions are not clipped, so that each has a gradient.
        """
        del times  # the LSTMs count steps
        valid = valid_steps(in_order(self.modalities), masks, present)
        parts = []
        for name, hidden in ((AUDIO, self.audio_hidden), (VISION, self.vision_hidden)):
            if name in valid:
                lstm = LSTM(hidden or features[name].shape[-1], self.num_layers, self.dtype, name=f"{name}_lstm")
                parts.append(lstm(features[name], valid[name]))
        if TEXT in valid:
            parts.append(text_vector(features[TEXT], valid[TEXT], self.token))
        hidden_layer = Dense(self.width, dtype=self.dtype, kernel_init=torch_uniform, name="hidden")
        output = Dense(self.num_labels, dtype=self.dtype, kernel_init=torch_uniform, name="output")
        predictions = output(jnp.tanh(hidden_layer(jnp.concatenate(parts, axis=-1))))
        return jnp.clip(predictions, 0, 1) if deterministic else predictions, unweighted(valid)
