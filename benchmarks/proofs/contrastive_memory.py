"""Temporary memory of the contrastive loss and its gradients for the embeddings, from XLA's buffer plan.

python -m benchmarks.proofs.contrastive_memory [--devices=2,4,8] [--batches=256,4096] [--width=256]
    [--loss=infonce]

A device that holds b of B clips compares b rows with B columns, so its memory grows with b x B rather than B x B.
Nothing is run, and the devices are virtual CPU devices.
"""

import argparse
import os

WIDEST = 8
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={WIDEST}"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

from emi_jax.modalities import MODALITIES, VISION  # noqa: E402
from emi_jax.models.contrastive import INFO_NCE, LOSSES, SIGMOID, ContrastiveModel, Embedded  # noqa: E402
from emi_jax.models.towers import Towers  # noqa: E402
from emi_jax.stages.alignment import Alignment  # noqa: E402
from emi_jax.train.mapping import SHARDED, Mapping  # noqa: E402

MIB = 2**20


def temporary_bytes(devices: int, batch: int, width: int, kind: str) -> int:
    """Temporary bytes per device for the loss of a pair over a global batch and all its gradients."""
    stage = Alignment(ContrastiveModel(Towers(), (VISION,), width, loss=kind), {}, {VISION: 1.0})
    embedding = jax.ShapeDtypeStruct((batch, width), jnp.float32)
    scale, both = (jax.ShapeDtypeStruct((batch,), dtype) for dtype in (jnp.float32, jnp.bool_))
    outputs = {VISION: Embedded(embedding, embedding, scale, scale if kind == SIGMOID else None)}
    clips = {
        "both": both,
        "valid": jax.ShapeDtypeStruct((batch,), jnp.bool_),
        "present": jax.ShapeDtypeStruct((batch, len(MODALITIES)), jnp.bool_),
        "transcript": jax.ShapeDtypeStruct((batch,), jnp.int32),
    }

    def gradients(outputs: dict, clips: dict) -> dict:
        def loss(found: dict) -> jax.Array:
            return stage.loss({name: (pair, clips["both"]) for name, pair in found.items()}, clips)[0]

        return jax.grad(loss)(outputs)

    mapped = Mapping("shard_map", jax.devices()[:devices]).map(gradients, (SHARDED, SHARDED), output=SHARDED)
    return mapped.lower(outputs, clips).compile().memory_analysis().temp_size_in_bytes


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", default="2,4,8")
    parser.add_argument("--batches", default="256,4096")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--loss", choices=LOSSES, default=INFO_NCE)
    options = parser.parse_args()
    print("| B | devices | b | temporary MiB of a device | b x B float32, MiB | temporary / (b x B) | B x B, MiB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for batch in map(int, options.batches.split(",")):
        for devices in map(int, options.devices.split(",")):
            share, found = batch // devices, temporary_bytes(devices, batch, options.width, options.loss) / MIB
            rows, square = share * batch * 4 / MIB, batch**2 * 4 / MIB
            print(f"| {batch} | {devices} | {share} | {found:.2f} | {rows:.2f} | {found / rows:.1f} | {square:.2f} |")


if __name__ == "__main__":
    main()
