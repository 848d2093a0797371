"""Our parameters as Hugging Face tensors."""

import numpy as np

from emi_jax.encoders.tensors import Tensor, read, write


def test_packed_parameters_are_the_rows_of_one_tensor():
    expected = {
        "query/kernel": Tensor("in_proj.weight", (2, 3), (), (3, 2)),
        "key/kernel": Tensor("in_proj.weight", (1, 3), (), (3, 1)),
        "query/bias": Tensor("in_proj.bias", (2,), None, (2,)),
        "key/bias": Tensor("in_proj.bias", (1,), None, (1,)),
    }
    tensors = {
        "in_proj.weight": np.arange(9, dtype=np.float32).reshape(3, 3),
        "in_proj.bias": np.arange(3, dtype=np.float32),
    }
    params = read(expected, tensors)
    np.testing.assert_array_equal(params["query/kernel"], [[0, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(params["key/kernel"], [[6], [7], [8]])
    np.testing.assert_array_equal(params["key/bias"], [2])
    written = write(expected, params)
    assert written.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(written[name], tensor)
