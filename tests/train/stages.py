"""Both stages with tiny models and their real losses, so that tests of the engine compile fast."""

from collections.abc import Collection, Mapping

import flax.linen as nn
import jax
import numpy as np
import optax

from emi_jax.modalities import AUDIO, MODALITIES, TEXT, VISION
from emi_jax.models.contrastive import INFO_NCE, ContrastivePairs
from emi_jax.models.fusion import Fusion
from emi_jax.models.towers import TextTower, Towers
from emi_jax.stages.alignment import Alignment
from emi_jax.stages.intensity import Intensity
from emi_jax.train.step import Stage, TrainState, create_state

CLIPS, WIDTH, STEPS, LABELS = 16, 8, 4, ("one", "two", "three")


class TinyModel(nn.Module):
    """A dense layer for each tower, with the real projections and temperatures on top."""

    modalities: tuple[str, ...] = (VISION, AUDIO)
    loss: str = INFO_NCE

    def setup(self):
        self.towers = {name: nn.Dense(WIDTH) for name in (*self.modalities, TEXT)}
        self.pairs = ContrastivePairs(self.modalities, WIDTH, loss=self.loss)

    def __call__(self, batch: Mapping[str, jax.Array]):
        return self.project({name: clip for name, (clip, _) in self.encode(batch).items()})

    def encode(self, batch: Mapping[str, jax.Array], trained: Collection[str] = ()):
        sequences = {name: batch[f"{name}/features"] for name in self.towers}
        return {
            name: (nn.tanh(self.towers[name](sequence.mean(1))), batch[f"{name}/mask"])
            for name, sequence in sequences.items()
        }

    def project(self, clips: Mapping[str, jax.Array]):
        return self.pairs(clips)


def make_batch(seed: int = 0) -> dict[str, np.ndarray]:
    """Features of 16 clips, valid only in the second half, so that some of 2, 4 and 8 devices have no valid clip."""
    rng = np.random.default_rng(seed)
    valid = np.isin(np.arange(CLIPS), (8, 9, 10, 12, 13, 15))
    present = rng.random((CLIPS, 3)) < 0.8
    present[:, MODALITIES.index(TEXT)] |= present.sum(1) < 2
    batch = {
        "valid": valid,
        "present": present,
        "transcript": rng.integers(0, CLIPS, CLIPS).astype(np.int32),
        "labels": rng.random((CLIPS, len(LABELS)), np.float32),
        "label_mask": rng.random((CLIPS, len(LABELS))) < 0.9,
    }
    for name in MODALITIES:
        mask = np.arange(STEPS)[None, :] < rng.integers(1, STEPS + 1, CLIPS)[:, None]
        batch |= {
            f"{name}/features": rng.standard_normal((CLIPS, STEPS, WIDTH), np.float32),
            f"{name}/mask": mask,
            f"{name}/clean": rng.random((CLIPS, STEPS)) < 0.7,
            f"{name}/supervised": mask,
            f"{name}/times": np.cumsum(rng.random((CLIPS, STEPS), np.float32), axis=1),
        }
    return batch


def tiny_alignment(loss: str = INFO_NCE) -> Alignment:
    return Alignment(TinyModel(loss=loss), make_batch(), {VISION: 1.0, AUDIO: 0.5})


def tiny_intensity(dropout: float = 0.0) -> Intensity:
    """Stage 2 on cached features, so that the towers exist only by name."""
    towers = Towers(*(TextTower(nn.Dense(1)) for _ in MODALITIES))
    head = Fusion(
        len(LABELS), WIDTH, modalities=(VISION, TEXT), tcn=False, bilstm=False, decoder=False, dropout=dropout
    )
    return Intensity(towers, head, make_batch(), LABELS, modality_dropout=dropout)


def tiny_params(stage: Stage) -> dict:
    """Parameters, none of which has its initial value."""
    batch = make_batch()
    if isinstance(stage, Alignment):
        shapes = jax.eval_shape(stage.model.init, jax.random.key(0), batch)["params"]
    else:
        shapes = {"fusion": jax.eval_shape(lambda: stage._init_fusion(jax.random.key(0), {"towers": {}}))}
    rng = np.random.default_rng(1)
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: (path[-1].key == "scale") + 0.3 * rng.standard_normal(leaf.shape, np.float32), shapes
    )


def remember_gradients() -> optax.GradientTransformation:
    """An optimiser that returns the gradients unchanged and keeps the last ones as its state."""
    return optax.GradientTransformation(
        lambda params: jax.tree.map(np.zeros_like, params), lambda gradients, state, params=None: (gradients, gradients)
    )


def begin(stage: Stage, optimizer: optax.GradientTransformation) -> TrainState:
    return create_state(tiny_params(stage), {"towers": {"never": np.zeros(1)}}, optimizer)
