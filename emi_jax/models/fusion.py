"""The fusion of the paper: from the three encoders' sequences to K intensities."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from emi_jax.modalities import AUDIO, MODALITIES, VISION, in_order
from emi_jax.models.bilstm import GatedBiLSTM, Implementation
from emi_jax.models.decoder import Decoder, Memory, Pooled
from emi_jax.models.dense import Dense
from emi_jax.models.pooling import masked_mean
from emi_jax.models.quality import (
    EqualWeights,
    QualityAware,
    Weighted,
    equal_weights,
    over_modalities,
    unweighted,
    valid_steps,
)
from emi_jax.models.statistics import StatisticsReadout
from emi_jax.models.tcn import TCN
from emi_jax.models.transformer import check_heads

POSITIONS = ("seconds", "steps")
STEPS_PER_SECOND = 50.0
"""Positions per second: one for each step of wav2vec 2.0, the finest of the usual encoders."""


class Fusion(nn.Module):
    """Projection, temporal enhancers, quality weights and decoder. Every part can be switched off.

    Attributes:
        num_labels: K.
        width: d, of everything after the projections.
        modalities: in use, any of "vision", "audio", "text"; the others are never read and have weight 0.
        tcn: the TCN on vision; False leaves the projected frames as they are.
        tcn_dilations: one residual block of the TCN for each.
        tcn_causal: the TCN sees no later frame.
        bilstm: the BiLSTM on audio; False leaves the projected steps as they are.
        lstm_hidden: units in each direction; 0 = `width`.
        gate: the gate that mixes the BiLSTM's output with its input.
        quality: the Quality-Aware Module; False gives the modalities present equal weights.
        positions: of the steps in the decoder's memory: "seconds", their times, or "steps", their numbers.
        attention_bias: also add the log of the quality weights to the decoder's attention logits.
        decoder: the Transformer decoder; False pools each modality over time, and an MLP follows.
        sequences: read the sequences through the decoder; False leaves their statistics alone.
        statistics: add a readout of each modality's statistics over time, weighted as the modality is; with `sequences`
            the prediction is the mean of both.
        input_dropout: dropout rate of these statistics.
        auxiliary: also predict from the mean over time of each modality's sequence alone, for a loss of its own, which
            trains the projections and enhancers of a modality however little the decoder uses it.
        num_layers: depth of the decoder.
        num_heads: its attention heads; must divide `width`.
        mlp_ratio: hidden width of its MLPs over `width`.
        dropout: dropout rate in every part.
        dtype: dtype of the operands of matrix products; norms, statistics and states are float32.
        lstm_implementation: that of the BiLSTM, as in `GatedBiLSTM`.
    """

    num_labels: int
    width: int = 256
    modalities: tuple[str, ...] = MODALITIES
    tcn: bool = True
    tcn_dilations: tuple[int, ...] = (1, 2, 4, 8)
    tcn_causal: bool = False
    bilstm: bool = True
    lstm_hidden: int = 0
    gate: bool = True
    quality: bool = True
    positions: str = "seconds"
    attention_bias: bool = False
    decoder: bool = True
    sequences: bool = True
    statistics: bool = False
    input_dropout: float = 0.3
    auxiliary: bool = False
    num_layers: int = 2
    num_heads: int = 8
    mlp_ratio: int = 4
    dropout: float = 0.1
    dtype: DTypeLike = jnp.float32
    lstm_implementation: Implementation = "xla"

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            ValueError: fields contradict each other, or a value is unknown.
        """
        if self.attention_bias and not (self.quality and self.decoder):
            raise ValueError("attention_bias = True needs quality = True and decoder = True: switch it off as well")
        if self.decoder:
            check_heads(self.num_heads, self.width)
        if not (self.sequences or self.statistics):
            raise ValueError("sequences = False needs statistics = True: otherwise nothing is read")
        if self.auxiliary and (self.statistics or not self.sequences):
            raise ValueError(
                "auxiliary = True needs sequences = True and statistics = False: its readouts have that loss"
            )
        if self.positions not in POSITIONS:
            raise ValueError(f"positions = {self.positions!r}: choose one of {POSITIONS}")
        in_order(self.modalities)
        super().__post_init__()

    @property
    def reads_sequences(self) -> bool:
        """Whether the steps of the features are read; otherwise their statistics and masks alone are."""
        return self.sequences or self.quality

    @nn.compact
    def __call__(
        self,
        features: Mapping[str, Array],
        masks: Mapping[str, Array],
        times: Mapping[str, Array],
        present: Array,
        deterministic: bool = True,
        statistics: Mapping[str, Array] | None = None,
    ) -> tuple[Array, dict[str, Any]]:
        """Predicts the intensities.

        Args:
            features: {m: [B, t_m, D_m]}.
            masks: {m: bool [B, t_m]}, the valid steps.
            times: {m: float32 [B, t_m]}, seconds since the clip's start.
            present: bool [B, 3] in the order of `MODALITIES`. A modality without a valid step counts as absent.
            deterministic: False needs the rng stream "dropout".
            statistics: {m: [B, S_m]}, for a head that reads them.

        Returns:
            Predictions, float32 [B, K] in [0, 1], and a dict of
            "weights" and "share" [B, 3], the modalities' weights w and effective shares w_m * mean r_m, normalised;
            "reliability" and "reliability_logits" {m: [B, t_m]} for the modalities in use, the second empty without
            the QAM;
            "unimodal" {m: [B, K]}, the predictions from each modality alone, with `statistics` or `auxiliary`;
            "informed", bool [B], False for a clip with no modality at all, whose prediction is a learned prior.
        """
        names = in_order(self.modalities)
        valid = valid_steps(names, masks, present)
        here = {name: mask.any(1) for name, mask in valid.items()}
        if self.reads_sequences:
            enhanced = {name: self._enhance(name, features[name], valid[name], deterministic) for name in names}
            weigh = (
                QualityAware(self.width, self.dtype, name="quality") if self.quality else EqualWeights(name="quality")
            )
            weighted = weigh(enhanced, valid, here)
            weights = weighted.weights
            extras: dict[str, Any] = {
                "weights": over_modalities(weights),
                "reliability": weighted.reliability,
                "reliability_logits": weighted.reliability_logits,
                "share": over_modalities(weighted.share),
                "informed": jnp.stack(list(here.values())).any(0),
            }
        else:
            weights, extras = equal_weights(here), unweighted(valid)
        predictions, extras["unimodal"] = [], {}
        if self.sequences:
            predictions.append(jax.nn.sigmoid(self._decode(weighted, valid, times, deterministic)))
        if self.auxiliary:
            alone = StatisticsReadout(
                self.num_labels, self.width, self.dropout, self.dropout, self.dtype, name="auxiliary_readout"
            )
            means = {name: masked_mean(enhanced[name], valid[name]) for name in names}
            _, extras["unimodal"] = alone(means, weights, deterministic)
        if self.statistics:
            readout = StatisticsReadout(
                self.num_labels, self.width, self.input_dropout, self.dropout, self.dtype, name="statistics_readout"
            )
            read = {name: (statistics or {})[name] for name in names}
            mean, extras["unimodal"] = readout(read, weights, deterministic)
            predictions.append(jnp.clip(mean, 0, 1))
        return jnp.stack(predictions).mean(0), extras

    def _enhance(self, name: str, x: Array, mask: Array, deterministic: bool) -> Array:
        """Projects a modality to the fusion's width and runs its temporal enhancer: [B, t, D] -> [B, t, d]."""
        x = Dense(self.width, dtype=self.dtype, name=f"{name}_projection")(jnp.where(mask[..., None], x, 0))
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        if name == VISION and self.tcn:
            enhancer = TCN(
                self.tcn_dilations, causal=self.tcn_causal, dropout=self.dropout, dtype=self.dtype, name="tcn"
            )
            return enhancer(x, mask, deterministic)
        if name == AUDIO and self.bilstm:
            hidden = self.lstm_hidden or self.width
            bilstm = GatedBiLSTM(hidden, self.gate, self.dropout, self.dtype, self.lstm_implementation, name="bilstm")
            return bilstm(x, mask, deterministic)
        return x

    def _decode(
        self, weighted: Weighted, masks: dict[str, Array], times: Mapping[str, Array], deterministic: bool
    ) -> Array:
        if not self.decoder:
            pooled = Pooled(self.num_labels, self.width, self.dropout, self.dtype, name="pooled")
            return pooled(weighted.features, masks, deterministic)
        positions = {name: STEPS_PER_SECOND * times[name] for name in masks}
        if self.positions == "steps":
            positions = {name: jnp.arange(mask.shape[1], dtype=jnp.float32)[None] for name, mask in masks.items()}
        memory, mask = Memory(name="memory")(weighted.features, masks, positions)
        bias = None
        if self.attention_bias:
            token = jnp.zeros((memory.shape[0], 1))
            bias = jnp.concatenate([token, *weighted.log_weights.values()], axis=1)
        decoder = Decoder(
            self.num_labels, self.num_layers, self.num_heads, self.mlp_ratio, self.dropout, self.dtype, name="decoder"
        )
        return decoder(memory, mask, bias, deterministic)
