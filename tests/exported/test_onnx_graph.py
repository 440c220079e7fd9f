"""JAX functions as ONNX graphs, in onnxruntime beside JAX itself."""

import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest

from vocjax.errors import UserError
from vocjax.exported.onnx_graph import to_onnx

TABLE = np.array([0, 15, 7, 3], np.uint8)
KERNEL = np.random.default_rng(1).standard_normal((3, 3, 2, 6)).astype(np.float32)
MATRIX = np.random.default_rng(2).standard_normal((4, 5)).astype(np.float32)


def convolve(x, **how):
    return jax.lax.conv_general_dilated(
        x, KERNEL, (2, 1), ((1, 2), (0, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC"), **how
    )


def by_platform(x):
    return jax.lax.platform_dependent(x, cpu=lambda x: x + 1, default=lambda x: 1 + x)


def scattered(x):
    code = x.reshape(x.shape[0], -1)[:, :3]
    put = jnp.zeros((x.shape[0], 8)).at[:, np.array([6, 0, 3])].set(code)
    return put.at[:, np.array([1, 3, 2])].add(code)


FUNCTIONS = {
    "arithmetic": lambda x: jnp.maximum(x, 0.1) / (1 + abs(x)) - jnp.minimum(-x, 0.2) ** 3,
    "activations": lambda x: jax.nn.gelu(x, approximate=False) + jax.nn.elu(x) * jax.nn.silu(x),
    "exponentials": lambda x: jax.nn.softmax(x) + jnp.log1p(jnp.exp(x)) + jnp.tanh(x),
    "roots": lambda x: jax.lax.rsqrt(x**2 + 1) + jnp.sqrt(x * x) + jax.nn.sigmoid(x),
    "choices": lambda x: jnp.where((x > 0.2) & (x != 0.5) | ~(x <= -1), x, jnp.sign(x)),
    "sums": lambda x: x.sum(axis=(1, 2)) + x.max(axis=(1, 2)) + x.mean(axis=(1, 2)),
    "largest": lambda x: jnp.asarray(TABLE)[x.reshape(x.shape[0], 4, -1).argmax(axis=1)],
    "every other": lambda x: x[:, ::2, 1::2] + x[:, 1::2, ::2],
    "backwards": lambda x: x[..., ::-1],
    "parts": lambda x: jnp.stack([*jnp.split(x, 2, axis=1), x[:, 1:3]], axis=2),
    "places": lambda x: x[:, np.array([3, 0, 0])][:, 1:3, 2, 1],
    "transposed": lambda x: jnp.concatenate([x.transpose(0, 2, 1, 3), 0 * x], axis=-1),
    "padded": lambda x: jnp.pad(x, ((0, 0), (1, 0), (0, 2), (0, 0)), constant_values=-jnp.inf),
    "convolution": convolve,
    "dilated": lambda x: convolve(x, rhs_dilation=(2, 1)),
    "matrix": lambda x: x.transpose(0, 1, 3, 2) @ MATRIX,
    "batched product": lambda x: jnp.einsum("bhwc,bwd->bhdc", x, x[:, 0]),
    "scatter": scattered,
    "gradient": jax.grad(lambda x: (jax.nn.relu(x.mean(axis=(1, 2))) ** 2).max(axis=1).sum()),
    "by platform": by_platform,
    "nothing": lambda x: jnp.broadcast_to(jnp.arange(3.0), (x.shape[0], 3)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_onnxruntime_computes_what_jax_does_with_any_batch(name):
    def function(images):
        return {"found": FUNCTIONS[name](images)}

    model = to_onnx(function, (4, 4, 2), "float32", {"name": name})
    session = onnxruntime.InferenceSession(model.SerializeToString())
    assert session.get_modelmeta().custom_metadata_map == {"name": name}
    for n in (1, 3):
        images = np.random.default_rng(n).standard_normal((n, 4, 4, 2)).astype(np.float32)
        (found,) = session.run(["found"], {"images": images})
        expected = function(images)["found"]
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(
    ("function", "needs"),
    [
        (lambda x: jnp.sort(x), "the operation 'sort'"),
        (lambda x: jnp.pad(x, 1, mode="edge"), "a part of the batch"),
        (lambda x: jax.lax.pad(x, 0.0, ((0, 0, 0), (0, 0, 1), (-1, 0, 0), (0, 0, 0))), "padding"),
    ],
)
def test_what_has_no_form_is_named(function, needs):
    with pytest.raises(UserError, match=f"it needs {needs}.*--format stablehlo or safetensors"):
        to_onnx(lambda x: {"y": function(x)}, (4, 4, 2), "float32", {})
