"""Each part of the twin and ours, alone: outputs and gradients of every parameter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from benchmarks.comparison import batches, ours  # noqa: E402
from benchmarks.comparison.twin import fusion, losses, towers, weights  # noqa: E402
from emi_jax import losses as our_losses  # noqa: E402
from emi_jax.models.bilstm import GatedBiLSTM  # noqa: E402
from emi_jax.models.contrastive import ContrastivePair  # noqa: E402
from emi_jax.models.tcn import TCN  # noqa: E402
from tests.benchmarks import tiny  # noqa: E402


def assert_part_agrees(module, twin, inputs):
    """The same outputs, and gradients of a weighted sum of them, from the same weights."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)["params"]
    flat = ours.draw_like(shapes, std=0.3)
    weights.load(twin, flat)
    tensors = [torch.from_numpy(np.array(x)) for x in inputs]
    results = twin(*tensors)
    results = results if isinstance(results, tuple) else (results,)
    rng = np.random.default_rng(7)
    factors = [rng.normal(size=tuple(result.shape)).astype(np.float32) for result in results]
    sum((result * torch.from_numpy(np.asarray(f))).sum() for result, f in zip(results, factors, strict=True)).backward()

    def weighted(flat):
        outputs = module.apply({"params": ours.tree(flat)}, *inputs)
        outputs = [o for o in outputs if o is not None] if isinstance(outputs, tuple) else [outputs]
        return sum((o * f).sum() for o, f in zip(outputs, factors, strict=True)), outputs

    gradients, outputs = jax.jit(jax.grad(weighted, has_aux=True))(flat)
    for our_output, their_output in zip(outputs, results, strict=True):
        tiny.assert_agree({"output": our_output}, {"output": their_output.detach().numpy()})
    tiny.assert_agree(gradients, weights.fetch(twin, flat, what=lambda parameter: parameter.grad))


@pytest.fixture
def sequences():
    x, mask, _ = batches.sequences(np.random.default_rng(3), tiny.SIZES, 9)
    return x, mask


def test_tcn(sequences):
    assert_part_agrees(TCN((1, 2)), fusion.TCN(16, (1, 2)), sequences)


def test_gated_bilstm(sequences):
    assert_part_agrees(GatedBiLSTM(5), fusion.GatedBiLSTM(16, 5), sequences)


def test_contrastive_pair():
    left, right, *_ = batches.embeddings(np.random.default_rng(4), 6, 8)
    assert_part_agrees(ContrastivePair("vision", 4), towers.Pair("vision", (8, 8), 4), (left, right[:, ::-1]))


def test_info_nce_with_several_positives_and_invalid_clips():
    left, right, _, _ = batches.embeddings(np.random.default_rng(5), 8, 4)
    transcript, valid = np.array([1, 2, 1, 3, 3, 3, 4, 1], np.int32), np.arange(8) != 2

    def mean(left, right, scale):
        total, number = our_losses.info_nce(left, right, transcript, valid, scale)
        return total / number

    value, gradients = jax.jit(jax.value_and_grad(mean, argnums=(0, 1, 2)))(left, right, jnp.float32(30.0))
    tensors = [torch.tensor(x, requires_grad=True) for x in (left, right, np.float32(30.0))]
    loss = losses.info_nce(tensors[0], tensors[1], torch.tensor(transcript), torch.tensor(valid), tensors[2])
    loss.backward()
    assert float(value) == pytest.approx(loss.item(), rel=tiny.TOLERANCE)
    names = ("left", "right", "scale")
    tiny.assert_agree(
        dict(zip(names, map(np.asarray, gradients), strict=True)),
        {name: tensor.grad.numpy() for name, tensor in zip(names, tensors, strict=True)},
    )


def test_the_terms_of_the_loss_of_stage_2():
    rng = np.random.default_rng(6)
    pred, labels = rng.random((2, 7, 3)).astype(np.float32)
    labels[:, 2] = 0.5  # has no correlation
    known = rng.random((7, 3)) < 0.8
    logits, clean, supervised = rng.normal(size=(7, 5)).astype(np.float32), rng.random((7, 5)) < 0.5, known[:, :1]
    supervised = np.broadcast_to(supervised, (7, 5))

    def terms(pred, logits):
        error, number = our_losses.squared_error(pred, labels, known)
        rho, defined = our_losses.pearson(pred, labels, known)
        cross, steps = our_losses.reliability_loss(logits, clean, supervised)
        return jnp.stack([error / number, rho.sum() / defined.sum(), cross / steps])

    values = terms(pred, logits)
    gradients = jax.grad(lambda *x: terms(*x).sum(), argnums=(0, 1))(pred, logits)
    p, g = torch.tensor(pred, requires_grad=True), torch.tensor(logits, requires_grad=True)
    y, k = torch.tensor(labels), torch.tensor(known)
    their_terms = torch.stack(
        [
            losses.squared_error(p, y, k),
            losses.pearson(p, y, k),
            losses.reliability(g, torch.tensor(clean), torch.tensor(supervised)),
        ]
    )
    their_terms.sum().backward()
    np.testing.assert_allclose(values, their_terms.detach().numpy(), rtol=tiny.TOLERANCE)
    tiny.assert_agree(
        {"pred": np.asarray(gradients[0]), "logits": np.asarray(gradients[1])},
        {"pred": p.grad.numpy(), "logits": g.grad.numpy()},
    )
