"""The TCN against PyTorch's conv1d and against sums written out in NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from emi_jax.models.tcn import TCN

B, T, D = 3, 11, 6
MASK = np.arange(T)[None, :] < np.array([11, 4, 8])[:, None]


def apply(module, *arguments, **options):
    return jax.jit(functools.partial(module.apply, **options))(*arguments)


def setup(**fields):
    """A small TCN with two blocks, and weights that are not the initial ones."""
    module = TCN((1, 2), **fields)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(B, T, D)).astype(np.float32)
    shapes = jax.eval_shape(module.init, jax.random.key(0), x, MASK)
    return module, jax.tree.map(lambda w: rng.normal(scale=0.5, size=w.shape).astype(np.float32), shapes), x


def torch_tcn(params, x, mask, causal):
    valid = torch.tensor(mask)[..., None]
    for block, dilation in enumerate((1, 2)):
        y = x
        for layer in range(2):
            conv, norm = params[f"block_{block}_conv_{layer}"], params[f"block_{block}_norm_{layer}"]
            weight = torch.tensor(conv["kernel"].transpose(2, 1, 0).copy())
            inputs = F.pad((y * valid).transpose(1, 2), (2 * dilation, 0) if causal else (dilation, dilation))
            y = F.conv1d(inputs, weight, torch.tensor(conv["bias"]), dilation=dilation).transpose(1, 2)
            y = F.gelu(F.layer_norm(y, (D,), torch.tensor(norm["scale"]), torch.tensor(norm["bias"]), eps=1e-6))
        x = x + y
    return x * valid


@pytest.mark.parametrize("causal", [False, True])
def test_values_and_gradients_equal_torchs(causal):
    module, variables, x = setup(causal=causal)
    inputs = torch.tensor(x, requires_grad=True)
    expected = torch_tcn(variables["params"], inputs, MASK, causal)
    (gradient,) = torch.autograd.grad(expected.square().sum(), inputs)
    np.testing.assert_allclose(apply(module, variables, x, MASK), expected.detach().numpy(), atol=2e-5)
    ours = jax.grad(lambda x: jnp.square(apply(module, variables, x, MASK)).sum())(x)
    np.testing.assert_allclose(ours, gradient.numpy(), rtol=1e-4, atol=1e-4)


def test_a_dilated_convolution_equals_its_sums():
    module, variables, x = setup()
    _, seen = apply(module, variables, x, MASK, capture_intermediates=True, mutable=["intermediates"])
    seen = {name: values["__call__"][0] for name, values in seen["intermediates"].items() if name != "__call__"}
    kernel, bias = (variables["params"]["block_1_conv_0"][name] for name in ("kernel", "bias"))
    inputs = x + np.asarray(jax.nn.gelu(seen["block_0_norm_1"], approximate=False))
    for b in range(B):
        for t in range(T):
            taps = [(tap, s) for tap, s in enumerate((t - 2, t, t + 2)) if 0 <= s < T and MASK[b, s]]
            expected = bias + sum(inputs[b, s] @ kernel[tap] for tap, s in taps)
            np.testing.assert_allclose(seen["block_1_conv_0"][b, t], expected, atol=1e-4)


@pytest.mark.parametrize("causal", [False, True])
def test_a_step_sees_its_receptive_field_and_no_more(causal):
    module, variables, _ = setup(causal=causal)
    long = np.zeros((1, 41, D), np.float32)
    everywhere = np.ones((1, 41), bool)
    changed = long.copy()
    changed[0, 20] = np.arange(D)
    difference = np.abs(apply(module, variables, changed, everywhere) - apply(module, variables, long, everywhere)).max(
        (0, 2)
    )
    # Two convolutions of width 3 in each block: 2 * 1 + 2 * 2 steps to a side, or twice that into the past.
    seen = range(20, 33) if causal else range(14, 27)
    np.testing.assert_array_equal(difference > 0, np.isin(np.arange(41), seen))


@pytest.mark.parametrize("causal", [False, True])
def test_masked_steps_have_no_influence(causal):
    module, variables, x = setup(causal=causal)
    clean = apply(module, variables, x, MASK)
    garbage = np.where(MASK[..., None], x, np.nan).astype(np.float32)
    np.testing.assert_array_equal(apply(module, variables, garbage, MASK), clean)
    longer = apply(module, variables, np.pad(x, ((0, 0), (0, 5), (0, 0))), np.pad(MASK, ((0, 0), (0, 5))))
    np.testing.assert_allclose(longer[:, :T], clean, atol=1e-5)
    np.testing.assert_array_equal(longer[:, T:], 0)
    shorter = apply(module, variables, x[1:2, :4], MASK[1:2, :4])
    np.testing.assert_allclose(clean[1:2, :4], shorter, atol=1e-5)


def test_bfloat16_and_dropout():
    module, variables, x = setup(dtype=jnp.bfloat16, dropout=0.5)
    exact = apply(TCN((1, 2)), variables, x, MASK)
    rounded = apply(module, variables, x, MASK)
    assert rounded.dtype == jnp.float32
    assert 0 < np.abs(rounded - exact).max() < 0.1
    noisy = apply(module, variables, x, MASK, deterministic=False, rngs={"dropout": jax.random.key(0)})
    assert np.abs(noisy - rounded).max() > 0.1
