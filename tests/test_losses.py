"""Losses against float64 NumPy and PyTorch, on one device and on many with unequal numbers of valid clips."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import torch
from jax.sharding import Mesh, PartitionSpec

from emi_jax import losses

CLIPS, WIDTH, LABELS = 16, 6, 3
AXIS = "data"


@pytest.fixture
def batch():
    """Sixteen clips; of eight shares of two, the second is empty and others hold one valid clip."""
    rng = np.random.default_rng(0)
    valid = np.ones(CLIPS, bool)
    valid[[2, 3, 5, 8]] = False
    mask = (rng.uniform(size=(CLIPS, LABELS)) < 0.8) & valid[:, None]
    left, right = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in rng.normal(size=(2, CLIPS, WIDTH)))
    return {
        "left": left.astype(np.float32),
        "right": right.astype(np.float32),
        "transcript": np.array([0, 1, 0, 2, 3, 3, 0, 4, 5, 6, 7, 7, 8, 1, 9, 7], np.int32),
        "valid": valid,
        "pred": rng.uniform(size=(CLIPS, LABELS)).astype(np.float32),
        "labels": np.where(mask, rng.uniform(size=(CLIPS, LABELS)), np.nan).astype(np.float32),
        "mask": mask,
    }


def mean(total, count, axis_name):
    if axis_name is not None:
        total, count = jax.lax.psum((total, count), axis_name)
    return total / count


def contrastive_loss(x, batch, axis_name=None):
    scale = jnp.exp(x["log_scale"])
    pair = losses.info_nce(x["left"], x["right"], batch["transcript"], batch["valid"], scale, axis_name)
    return mean(*pair, axis_name)


def sigmoid_loss(x, batch, axis_name=None):
    scale, embeddings = jnp.exp(x["log_scale"]), (x["left"], x["right"])
    rows = losses.sigmoid_contrast(*embeddings, batch["transcript"], batch["valid"], scale, x["bias"], axis_name)
    return mean(*rows, axis_name)


def error_loss(x, batch, axis_name=None):
    return mean(*losses.squared_error(x["pred"], batch["labels"], batch["mask"]), axis_name)


def correlation_loss(metric):
    def loss(x, batch, axis_name=None):
        value, defined = metric(x["pred"], batch["labels"], batch["mask"], axis_name)
        return 1 - value.sum() / defined.sum()

    return loss


# Each: the loss, and what it differentiates.
CASES = {
    "info_nce": (contrastive_loss, ("left", "right", "log_scale")),
    "sigmoid_contrast": (sigmoid_loss, ("left", "right", "log_scale", "bias")),
    "squared_error": (error_loss, ("pred",)),
    "pearson": (correlation_loss(losses.pearson), ("pred",)),
    "ccc": (correlation_loss(losses.ccc), ("pred",)),
}


SCALARS = {"log_scale": np.log(5.0), "bias": -2.0}


def reference(name, batch):
    """Value and gradients over the whole batch by PyTorch in float64, from formulas written out clip by clip."""
    x = {k: torch.tensor(batch[k], dtype=torch.float64, requires_grad=True) for k in ("left", "right", "pred")}
    x |= {k: torch.tensor(v, dtype=torch.float64, requires_grad=True) for k, v in SCALARS.items()}
    if name == "info_nce":
        rows = [i for i in range(CLIPS) if batch["valid"][i]]
        terms = []
        for one, other in (("left", "right"), ("right", "left")):
            for i in rows:
                logits = torch.stack([x["log_scale"].exp() * x[one][i] @ x[other][j] for j in rows])
                positives = [n for n, j in enumerate(rows) if batch["transcript"][i] == batch["transcript"][j]]
                terms.append(-torch.log_softmax(logits, 0)[positives].mean() / 2)
        value = torch.stack(terms).sum() / len(rows)
    elif name == "sigmoid_contrast":
        rows, terms = [i for i in range(CLIPS) if batch["valid"][i]], []
        for i in rows:
            for j in rows:
                sign = 1 if batch["transcript"][i] == batch["transcript"][j] else -1
                logit = x["log_scale"].exp() * x["left"][i] @ x["right"][j] + x["bias"]
                terms.append(-torch.log(1 / (1 + torch.exp(-sign * logit))))
        value = torch.stack(terms).sum() / len(rows)
    elif name == "squared_error":
        mask = torch.tensor(batch["mask"])
        value = ((x["pred"] - torch.tensor(batch["labels"], dtype=torch.float64))[mask] ** 2).mean()
    else:
        values = []
        for k in range(LABELS):
            known = batch["mask"][:, k]
            p, y = x["pred"][known, k], torch.tensor(batch["labels"][known, k], dtype=torch.float64)
            covariance = ((p - p.mean()) * (y - y.mean())).mean()
            spread = p.var(correction=0), y.var(correction=0)
            if name == "pearson":
                values.append(covariance / (spread[0] * spread[1]).sqrt())
            else:
                values.append(2 * covariance / (sum(spread) + (p.mean() - y.mean()) ** 2))
        value = 1 - torch.stack(values).mean()
    keys = CASES[name][1]
    gradients = torch.autograd.grad(value, [x[k] for k in keys])
    return value.item(), {k: g.numpy() for k, g in zip(keys, gradients, strict=True)}


def inputs(name, batch):
    return {k: np.float32(SCALARS[k]) if k in SCALARS else batch[k] for k in CASES[name][1]}


@pytest.mark.parametrize("name", CASES)
def test_one_device_equals_the_float64_reference(name, batch):
    value, gradients = jax.value_and_grad(CASES[name][0])(inputs(name, batch), batch)
    expected, expected_gradients = reference(name, batch)
    np.testing.assert_allclose(value, expected, rtol=2e-6)
    for k, expected_gradient in expected_gradients.items():
        np.testing.assert_allclose(gradients[k], expected_gradient, rtol=1e-5, atol=1e-7)


def pmapped(step, devices):
    """Devices first: [devices, clips on each, ...]; scalars are shared."""

    def run(x, batch):
        split = jax.tree.map(lambda a: a.reshape(devices, -1, *a.shape[1:]) if a.ndim else a, (x, batch))
        axes = jax.tree.map(lambda a: 0 if a.ndim else None, (x, batch))
        return jax.pmap(step, AXIS, in_axes=axes, devices=jax.devices()[:devices])(*split)

    return run


def sharded(step, devices, check_vma=False):
    mesh = Mesh(np.array(jax.devices()[:devices]), (AXIS,))
    split, shared = PartitionSpec(AXIS), PartitionSpec()

    def run(x, batch):
        specs = jax.tree.map(lambda a: split if a.ndim else shared, (x, batch))

        def lifted(x, batch):
            return jax.tree.map(lambda a: a[None], step(x, batch))

        mapped = jax.shard_map(lifted, mesh=mesh, in_specs=specs, out_specs=split, check_vma=check_vma)
        return jax.jit(mapped)(x, batch)

    return run


def checked(step, devices):
    return sharded(step, devices, check_vma=True)


@pytest.mark.parametrize("devices", [2, 4, 8])
@pytest.mark.parametrize("mapped", [pmapped, sharded, checked])
@pytest.mark.parametrize("name", CASES)
def test_many_devices_equal_the_float64_reference(name, mapped, devices, batch):
    """The gradient rule on a stand-in for a network: gradients of shared weights that produce every clip's outputs."""
    loss, keys = CASES[name]

    def step(x, batch):
        # One offset per clip of the GLOBAL batch, replicated like parameters are, read by the device that holds it.
        first = jax.lax.axis_index(AXIS) * batch["valid"].shape[0]

        def of_parameters(parameters):
            local = {
                k: p if p.ndim == 0 else x[k] + jax.lax.dynamic_slice_in_dim(p, first, x[k].shape[0])
                for k, p in parameters.items()
            }
            return loss(local, batch, AXIS)

        zeros = {k: a if a.ndim == 0 else jnp.zeros((CLIPS, *a.shape[1:])) for k, a in x.items()}
        value, gradients = jax.value_and_grad(of_parameters)(zeros)
        return value, jax.lax.pmean(gradients, AXIS)

    value, gradients = mapped(step, devices)(inputs(name, batch), batch)
    expected, expected_gradients = reference(name, batch)
    np.testing.assert_allclose(value, np.full(devices, expected), rtol=2e-6)
    for k in keys:
        assert len(gradients[k]) == devices
        for gradient in gradients[k]:
            np.testing.assert_allclose(gradient, expected_gradients[k], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["info_nce", "sigmoid_contrast"])
def test_contrastive_losses_ignore_whatever_padding_clips_hold(name, batch):
    loss, x = CASES[name][0], inputs(name, batch)
    garbage = {k: np.where(batch["valid"][:, None], a, np.nan) if a.ndim else a for k, a in x.items()}
    value, gradients = jax.value_and_grad(loss)(garbage, batch)
    np.testing.assert_array_equal(value, loss(x, batch))
    for k in ("left", "right"):
        np.testing.assert_array_equal(gradients[k][~batch["valid"]], 0)
        assert np.isfinite(gradients[k]).all()


@pytest.mark.parametrize("loss", [losses.info_nce, functools.partial(losses.sigmoid_contrast, bias=np.float32(-10))])
def test_contrastive_losses_without_a_valid_clip_are_zero(loss, batch):
    def total(left):
        return loss(left, batch["right"], batch["transcript"], jnp.zeros(CLIPS, bool), jnp.float32(100))

    value, count = total(batch["left"])
    assert (float(value), float(count)) == (0, 0)
    np.testing.assert_array_equal(jax.grad(lambda left: total(left)[0])(batch["left"]), 0)


@pytest.mark.parametrize("name", ["info_nce", "sigmoid_contrast"])
def test_a_device_compares_its_own_rows_only(name, batch):
    """No array of the compiled step, forward or backward, is as large as B x B."""
    loss, x = CASES[name][0], inputs(name, batch)
    mesh = Mesh(np.array(jax.devices()), (AXIS,))
    specs = jax.tree.map(lambda a: PartitionSpec(AXIS) if a.ndim else PartitionSpec(), (x, batch))

    def step(x, batch):
        return jax.grad(lambda x: loss(x, batch, AXIS))(x)

    mapped = jax.shard_map(step, mesh=mesh, in_specs=specs, out_specs=specs[0], check_vma=False)
    text = str(jax.make_jaxpr(mapped)(x, batch))
    assert f"[{CLIPS // 8},{CLIPS}]" in text
    assert f"[{CLIPS},{CLIPS}]" not in text


@pytest.mark.parametrize("metric", [losses.pearson, losses.ccc])
def test_constant_predictions_give_zero_and_finite_gradients(metric, batch):
    # 0.3 has no exact float32 mean: rounding must not pass for variation.
    pred = jnp.full((CLIPS, LABELS), 0.3).at[:, 1].set(0.0)
    value, defined = metric(pred, batch["labels"], batch["mask"])
    gradient = jax.grad(lambda p: metric(p, batch["labels"], batch["mask"])[0].sum())(pred)
    np.testing.assert_allclose(value, 0, atol=1e-6)
    assert defined.all()
    assert np.isfinite(gradient).all()
    # Of the order of 1 / deviation of the labels, where Pearson's own would be 1 / rounding.
    assert np.abs(gradient).max() < 10


@pytest.mark.parametrize("metric", [losses.pearson, losses.ccc])
def test_constant_and_unknown_labels_are_undefined(metric, batch):
    labels = np.where(batch["mask"], batch["labels"], 0)
    labels[:, 0] = 0.3
    mask = batch["mask"].copy()
    mask[:, 1] = False
    value, defined = metric(batch["pred"], labels, mask)
    gradient = jax.grad(lambda p: metric(p, labels, mask)[0].sum())(batch["pred"])
    np.testing.assert_array_equal(defined, [False, False, True])
    np.testing.assert_array_equal(value[:2], 0)
    np.testing.assert_array_equal(gradient[:, :2], 0)
    assert np.isfinite(gradient).all()


def test_pearson_survives_a_large_offset():
    """Moments about the mean, not E[xy] - E[x]E[y], which cancels in float32."""
    rng = np.random.default_rng(2)
    labels = rng.uniform(size=(64, 1)).astype(np.float32)
    pred = (labels + rng.uniform(size=(64, 1)) + 300).astype(np.float32)
    expected = scipy.stats.pearsonr(pred[:, 0].astype(np.float64), labels[:, 0]).statistic
    value, _ = losses.pearson(jnp.asarray(pred), jnp.asarray(labels), jnp.ones(labels.shape, bool))
    np.testing.assert_allclose(value[0], expected, rtol=1e-5)


def test_reliability_loss_matches_torch_over_the_supervised_steps():
    rng = np.random.default_rng(3)
    logits = rng.normal(scale=4, size=(4, 7)).astype(np.float32)
    logits[0, :2] = 500, -500
    clean, supervised = rng.uniform(size=(4, 7)) < 0.5, rng.uniform(size=(4, 7)) < 0.6
    supervised[0, :2], clean[0, :2] = True, (True, False)
    x = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    terms = torch.nn.functional.binary_cross_entropy_with_logits(
        x, torch.tensor(clean, dtype=torch.float64), reduction="none"
    )
    expected = terms[torch.tensor(supervised)].sum()
    (expected_gradient,) = torch.autograd.grad(expected, x)
    loss = jax.value_and_grad(losses.reliability_loss, has_aux=True)
    (value, count), gradient = loss(jnp.asarray(logits), jnp.asarray(clean), jnp.asarray(supervised))
    np.testing.assert_allclose(value, expected.item(), rtol=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient.numpy(), atol=1e-6)
    assert count == supervised.sum()


def test_losses_are_float32_for_bfloat16_inputs(batch):
    pred, left, right = (jnp.asarray(batch[k], jnp.bfloat16) for k in ("pred", "left", "right"))
    outputs = (
        losses.squared_error(pred, batch["labels"], batch["mask"]),
        losses.info_nce(left, right, batch["transcript"], batch["valid"], jnp.float32(5)),
        losses.sigmoid_contrast(left, right, batch["transcript"], batch["valid"], jnp.float32(5), jnp.float32(-2)),
        losses.pearson(pred, batch["labels"], batch["mask"])[0],
        losses.reliability_loss(pred, pred > 0.5, batch["mask"]),
    )
    assert {x.dtype for x in jax.tree.leaves(outputs)} == {jnp.dtype(jnp.float32)}
