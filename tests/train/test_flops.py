import jax
import jax.numpy as jnp
import pytest
from jax import lax

from emi_jax.kernels.product import product
from emi_jax.train import flops


def test_products_are_counted_as_often_as_a_loop_runs():
    def loop(x, w):
        return lax.scan(lambda x, _: (jnp.tanh(x @ w), None), x, None, length=5)[0]

    assert flops.count(loop, jnp.ones((3, 4)), jnp.ones((4, 4))) == 5 * 2 * 3 * 4 * 4


def test_a_convolution_and_both_its_gradients_cost_the_same():
    x, kernel = jnp.ones((2, 20, 6)), jnp.ones((3, 6, 8))

    def convolve(x, kernel):
        return lax.conv_general_dilated(x, kernel, (1,), "VALID", dimension_numbers=("NWC", "WIO", "NWC")).sum()

    once = 2 * 2 * 18 * 8 * 3 * 6
    assert flops.count(convolve, x, kernel) == once
    both = flops.count(jax.value_and_grad(convolve, argnums=(0, 1)), x, kernel)
    # The gradient by the input is a convolution over the padded gradient, a little larger.
    assert 3 * once <= both <= 3.4 * once


def test_what_nothing_uses_is_not_counted():
    x, kernel = jnp.ones((4, 6)), jnp.ones((6, 8))

    def total(kernel, x):
        return product(x, kernel, jnp.float32).sum()

    once = 2 * 4 * 6 * 8
    assert flops.count(total, kernel, x) == once
    assert flops.count(jax.value_and_grad(total), kernel, x) == 2 * once
    assert flops.count(jax.value_and_grad(total, argnums=(0, 1)), kernel, x) == 3 * once


def test_the_more_expensive_branch_counts():
    def choose(flag, x):
        return lax.cond(flag, lambda x: x @ x, lambda x: x, x)

    assert flops.count(choose, True, jnp.ones((4, 4))) == 2 * 4**3


def test_pytorch_counts_the_same_for_a_transformer_layer_of_products():
    torch = pytest.importorskip("torch")
    from benchmarks.comparison.twin.decoder import Attention
    from benchmarks.comparison.twin.flops import operations

    module, x = Attention(8, 2), torch.ones(2, 5, 8)
    with torch.no_grad():
        found = operations(lambda: module(x, x))
    assert found == 2 * (4 * 2 * 5 * 8 * 8 + 2 * 2 * 5 * 5 * 8)
