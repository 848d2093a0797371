"""The heads of the 2025 and 2026 winners against PyTorch modules written from what their public code computes."""

import jax
import numpy as np
import pytest

from emi_jax.modalities import AUDIO, TEXT, VISION
from emi_jax.models.concatenation import Concatenation
from emi_jax.models.text_anchored import TextAnchored
from tests.models.test_fusion import WIDTHS, B, K, clips

torch = pytest.importorskip("torch")
F = torch.nn.functional

PRESENT = np.array([[1, 1, 1], [1, 0, 1], [0, 1, 0], [1, 1, 0]], bool)
ALL = np.ones((B, 3), bool)


def parameters_of(head, present, seed=1):
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(head.init, jax.random.key(0), *clips()[:3], present)
    return jax.tree.map(lambda w: rng.normal(scale=0.4, size=w.shape).astype(np.float32), shapes)["params"]


def torch_lstm(parameters, inputs, hidden, layers=2):
    """`torch.nn.LSTM` with our weights; the gradients of its parameters stay connected to ours."""
    lstm = torch.nn.LSTM(inputs, hidden, num_layers=layers, batch_first=True)
    weights = {
        f"{theirs}_l{layer}": parameters[f"layers_{layer}_{ours}"].T
        for layer in range(layers)
        for theirs, ours in (("weight_ih", "input_kernel"), ("weight_hh", "recurrent_kernel"))
    }
    weights |= {f"bias_ih_l{layer}": parameters[f"layers_{layer}_bias"] for layer in range(layers)}
    weights |= {f"bias_hh_l{layer}": torch.zeros(4 * hidden) for layer in range(layers)}
    return lambda x: torch.func.functional_call(lstm, weights, x)[0]


def linear(parameters, x):
    return F.linear(x, parameters["kernel"].T, parameters["bias"])


def last_valid(states, mask):
    return states[torch.arange(len(states)), torch.as_tensor(mask.sum(1) - 1)]


def concatenation(parameters, features, masks, present):
    """Two-layer LSTMs at the last valid step, the class token, Linear, tanh, Linear."""
    del present  # of clips with all modalities
    parts = []
    for name, hidden in ((AUDIO, WIDTHS[AUDIO]), (VISION, 4)):
        states = torch_lstm(parameters[f"{name}_lstm"], WIDTHS[name], hidden)(features[name])
        parts.append(last_valid(states, masks[name]))
    joined = torch.cat([*parts, features[TEXT][:, 0]], dim=1)
    return linear(parameters["output"], torch.tanh(linear(parameters["hidden"], joined)))


def text_anchored(parameters, features, masks, present, heads=2):
    """The class token as the only query to each of voice and frames, learned vectors for what is missing, an MLP."""
    here = {name: torch.as_tensor(present[:, place]) for place, name in enumerate((VISION, AUDIO, TEXT))}
    text = torch.where(here[TEXT][:, None], features[TEXT][:, 0], parameters["text_missing"])
    parts = [text]
    for name in (AUDIO, VISION):
        layers = parameters[f"{name}_attention"]
        x = torch.where(here[name][:, None, None], features[name], parameters[f"{name}_missing"])
        padded = torch.as_tensor(~masks[name]) & here[name][:, None]
        query, key = (
            F.layer_norm(y, y.shape[-1:], layers[f"{norm}_norm"]["scale"], layers[f"{norm}_norm"]["bias"])
            for norm, y in (("query", linear(layers["query"], text)), ("key", linear(layers["key"], x)))
        )
        query, key, value = (
            y.reshape(B, -1, heads, y.shape[-1] // heads).transpose(1, 2)
            for y in (query, key, linear(layers["value"], x))
        )
        logits = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
        weights = torch.softmax(logits.masked_fill(padded[:, None, None], float("-inf")), dim=-1)
        parts.append(linear(layers["output"], (weights @ value).transpose(1, 2).reshape(B, -1)))
    hidden = F.gelu(linear(parameters["hidden"], torch.cat(parts, dim=1)))
    return linear(parameters["output"], hidden)


CASES = {
    "concatenation": (Concatenation(K, 5, vision_hidden=4), concatenation, ALL),
    "text_anchored": (TextAnchored(K, 8, num_heads=2, dropout=0.0), text_anchored, ALL),
    "text_anchored_missing": (TextAnchored(K, 8, num_heads=2, dropout=0.0), text_anchored, PRESENT),
}


@pytest.mark.parametrize("case", CASES)
def test_head_has_the_outputs_and_gradients_of_its_torch_form(case):
    head, reference, present = CASES[case]
    features, masks, times, _ = clips()
    parameters = parameters_of(head, present)
    weights = np.random.default_rng(2).normal(size=(B, K)).astype(np.float32)

    def total(parameters, features):
        predictions, _ = head.apply({"params": parameters}, features, masks, times, present, deterministic=False)
        return (predictions * weights).sum(), predictions

    gradients, predictions = jax.jit(jax.grad(total, argnums=(0, 1), has_aux=True))(parameters, features)

    theirs = jax.tree.map(lambda x: torch.tensor(np.asarray(x), requires_grad=True), (parameters, features))
    expected = reference(*theirs, masks, present)
    (expected * torch.tensor(weights)).sum().backward()
    np.testing.assert_allclose(predictions, expected.detach(), rtol=1e-4, atol=1e-5)
    found, sought = jax.tree.leaves(gradients), jax.tree.leaves(jax.tree.map(lambda x: x.grad.numpy(), theirs))
    for one, other in zip(found, sought, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5 * max(1, np.abs(other).max()))


def test_concatenation_reads_an_absent_modality_as_zeros():
    head = CASES["concatenation"][0]
    features, masks, times, _ = clips()
    parameters = parameters_of(head, ALL)
    apply = jax.jit(head.apply, static_argnums=5)
    predictions, extras = apply({"params": parameters}, features, masks, times, np.zeros((B, 3), bool), False)
    hidden, output = parameters["hidden"], parameters["output"]
    expected = np.tanh(hidden["bias"]) @ output["kernel"] + output["bias"]
    np.testing.assert_allclose(predictions, np.tile(expected, (B, 1)), rtol=1e-5)
    assert not extras["informed"].any()


def test_kernels_start_within_the_bounds_of_torch():
    head = Concatenation(K, 50, audio_hidden=9, vision_hidden=9)
    parameters = jax.jit(head.init)(jax.random.key(0), *clips()[:3], ALL)["params"]
    for name, value in parameters["audio_lstm"].items():
        bound = np.abs(value).max()
        assert bound == 0 if name.endswith("bias") else 0.9 / 3 < bound <= 1 / 3
    assert 0.9 * 50**-0.5 < np.abs(parameters["output"]["kernel"]).max() <= 50**-0.5
