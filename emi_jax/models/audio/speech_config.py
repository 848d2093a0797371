"""The configs of the speech encoders, with the field names of Hugging Face."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from emi_jax.models.audio.steps import Steps
from emi_jax.models.config import read_config
from emi_jax.models.transformer import ACTIVATIONS


@dataclasses.dataclass(frozen=True)
class SpeechConfig:
    """The fields that the configs of speech encoders on the raw waveform share, with Hugging Face's defaults."""

    model_type: ClassVar[str]
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout: float = 0.1
    activation_dropout: float = 0.1
    attention_dropout: float = 0.1
    feat_proj_dropout: float = 0.0
    feat_proj_layer_norm: bool = True
    layerdrop: float = 0.1
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-5
    feat_extract_norm: str = "group"
    feat_extract_activation: str = "gelu"
    conv_dim: tuple[int, ...] = (512, 512, 512, 512, 512, 512, 512)
    conv_stride: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    conv_kernel: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    conv_bias: bool = False
    num_conv_pos_embeddings: int = 128
    num_conv_pos_embedding_groups: int = 16
    do_stable_layer_norm: bool = False
    apply_spec_augment: bool = True
    mask_time_prob: float = 0.05
    mask_time_length: int = 10
    mask_time_min_masks: int = 2
    mask_feature_prob: float = 0.0
    mask_feature_length: int = 10
    mask_feature_min_masks: int = 0

    @property
    def steps(self) -> Steps:
        """What a step hears: 400 samples every 320 in all published models."""
        width, stride = 1, 1
        for kernel, step in zip(self.conv_kernel, self.conv_stride, strict=True):
            width, stride = width + (kernel - 1) * stride, stride * step
        return Steps(width, stride)

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> Self:
        """Reads the dict of a config.json; raises ValueError for an unsupported value."""
        supported = {
            "hidden_act": ACTIVATIONS,
            "feat_extract_activation": ACTIVATIONS,
            "feat_extract_norm": ("group", "layer"),
            "add_adapter": (False,),
            "adapter_attn_dim": (None,),
            "conv_pos_batch_norm": (False,),
        }
        result = read_config(cls, config, supported)
        lengths = {name: len(getattr(result, name)) for name in ("conv_dim", "conv_stride", "conv_kernel")}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"{cls.model_type} config: each needs one entry for each convolution, found {lengths}")
        return result


@dataclasses.dataclass(frozen=True)
class Wav2Vec2Config(SpeechConfig):
    """The fields of a Hugging Face `wav2vec2` config that the encoder reads, with their defaults there.

    `emotion_dimensions` is ours: outputs of the regression head of audeering's emotion model, 0 without one.
    """

    model_type: ClassVar[str] = "wav2vec2"
    final_dropout: float = 0.1
    emotion_dimensions: int = 0

    @property
    def for_transformers(self) -> dict[str, Any]:
        """Fields that transformers reads, though the encoder does not."""
        return {"num_labels": self.emotion_dimensions} if self.emotion_dimensions else {}


@dataclasses.dataclass(frozen=True)
class HubertConfig(SpeechConfig):
    """The fields of a Hugging Face `hubert` config that the encoder reads, with their defaults there."""

    model_type: ClassVar[str] = "hubert"


@dataclasses.dataclass(frozen=True)
class WavLMConfig(SpeechConfig):
    """The fields of a Hugging Face `wavlm` config that the encoder reads, with their defaults there."""

    model_type: ClassVar[str] = "wavlm"
    num_buckets: int = 320
    max_bucket_distance: int = 800


@dataclasses.dataclass(frozen=True)
class Data2VecAudioConfig(SpeechConfig):
    """The fields of a Hugging Face `data2vec-audio` config that the encoder reads, with their defaults there."""

    model_type: ClassVar[str] = "data2vec-audio"
    feat_extract_norm: str = "layer"
    conv_pos_kernel_size: int = 19
    num_conv_pos_embeddings: int = 5

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> Self:
        """As in `SpeechConfig`, without the choice of norms: Hugging Face's model has one, whatever the config says."""
        fixed = ("feat_extract_norm", "feat_proj_layer_norm", "do_stable_layer_norm")
        return super().from_dict({name: value for name, value in config.items() if name not in fixed})
