"""One per-device function mapped over all devices: by `pmap`, or by `jit(shard_map)` over a mesh."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from emi_jax.errors import UserError

AXIS = "data"
"""The name of the device axis for collectives in a mapped function."""

REPLICATED, SHARDED = False, True

Kind = Literal["pmap", "shard_map"]


class Mapping:
    """Maps per-device functions over devices.

    Inside a mapped function collectives use the axis `AXIS`; replicated arguments are the same on every device, and
    each device has `1 / num_devices` of the clips of a sharded array. Both kinds run the same function.

    Attributes:
        devices: the devices of all processes.
        num_devices: number of devices.
    """

    def __init__(self, kind: Kind, devices: Sequence[jax.Device] | None = None):
        """Chooses the devices.

        Args:
            kind: `pmap` or `shard_map`.
            devices: all devices by default.
        """
        if kind not in ("pmap", "shard_map"):
            raise UserError(f"unknown mapping {kind!r}: expected 'pmap' or 'shard_map'")
        self._kind = kind
        self.devices = list(devices or jax.devices())
        self._mesh = Mesh(np.array(self.devices), (AXIS,))
        self._local = len([device for device in self.devices if device.process_index == jax.process_index()])
        self.num_devices = len(self.devices)

    def map(
        self, function: Callable, inputs: Sequence[bool], *, output: bool = REPLICATED, donate: Sequence[int] = ()
    ) -> Callable:
        """The mapped and compiled function.

        Args:
            function: the per-device function.
            inputs: `REPLICATED` or `SHARDED` for each positional argument.
            output: `SHARDED` if each device returns its own clips, `REPLICATED` if all return the same values.
            donate: positions of the arguments whose memory is reused for the output.
        """
        if self._kind == "pmap":
            axes = tuple(0 if sharded else None for sharded in inputs)
            out_axes = 0 if output == SHARDED else None
            return jax.pmap(
                function, AXIS, in_axes=axes, out_axes=out_axes, donate_argnums=donate, devices=self.devices
            )
        specs = tuple(self._spec(sharded) for sharded in inputs)
        mapped = jax.shard_map(function, mesh=self._mesh, in_specs=specs, out_specs=self._spec(output), check_vma=False)
        return jax.jit(mapped, donate_argnums=donate)

    def put(self, batch: Any) -> Any:
        """Sends this process' part of a global batch, arrays [B / processes, ...], to its devices."""
        if self._kind == "pmap":
            batch = jax.tree.map(
                lambda leaf: leaf.reshape(self._local, len(leaf) // self._local, *leaf.shape[1:]), batch
            )
        sharding = NamedSharding(self._mesh, self._spec(SHARDED))
        if jax.process_count() == 1:
            return jax.device_put(batch, sharding)  # in one call: separate calls would take longer than the copies
        return jax.tree.map(lambda leaf: jax.make_array_from_process_local_data(sharding, leaf), batch)

    def replicate(self, tree: Any) -> Any:
        """Copies a tree of host or device arrays to every device, into memory that a mapped function can donate."""
        sharding = NamedSharding(self._mesh, self._spec(REPLICATED))

        def on_devices(leaf: Any) -> jax.Array:
            array = jax.make_array_from_process_local_data(sharding, np.asarray(leaf))
            # On the CPU, memory that NumPy owns cannot be donated. A GPU holds only one leaf at a time twice.
            return jax.device_put(array, sharding, may_alias=False)

        return jax.tree.map(on_devices, tree)

    def fetch(self, outputs: Any) -> Any:
        """The sharded outputs of all processes as NumPy arrays [B, ...], in the order of the global batch."""
        outputs = multihost_utils.process_allgather(outputs, tiled=True)
        if self._kind == "pmap":
            outputs = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), outputs)
        return outputs

    @staticmethod
    def _spec(sharded: bool) -> PartitionSpec:
        return PartitionSpec(AXIS) if sharded else PartitionSpec()
