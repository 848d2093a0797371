"""Prints what one training step costs at the sizes of the paper on 8, 64 and 512 devices, by formulas.

python -m benchmarks.scale
python -m benchmarks.scale --document=docs/scale.md

Nothing is measured: seconds follow from the FLOPs and bytes of `benchmarks/scale/formulas.py` and from what the options
assume of the devices. `--document` writes the tables into a page, between the comments that name them.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from benchmarks import tables
from benchmarks.accelerator.report import table
from benchmarks.comparison import batches, ours
from benchmarks.compiled import paper_scale
from benchmarks.scale import formulas
from emi_jax.train import parameters

ROOT = Path(__file__).parents[2]
DEVICES = 8, 64, 512
CLIPS = 32
"""On each device."""
SIZES = dataclasses.replace(paper_scale.PAPER, batch=1)
ENCODERS = {name: dict(config) for name, config in paper_scale.ENCODERS.items()}


@dataclasses.dataclass(frozen=True)
class Machine:
    """What is assumed of the devices; the defaults are a data sheet's, not measurements.

    Attributes:
        tflops: peak of products in bfloat16, in TFLOP/s.
        utilisation: the share of it that a step reaches.
        inside: GB/s that a device sends to the others of its host.
        between: GB/s that it sends to devices of other hosts.
        per_host: devices of a host.
        memory: GB of a device.
        core: clips a second that a core of the host decodes.
    """

    tflops: float = 989.0
    utilisation: float = 0.4
    inside: float = 300.0
    between: float = 50.0
    per_host: int = 8
    memory: float = 80.0
    core: float = 60.0

    def seconds(self, operations: float) -> float:
        """To compute so many FLOPs."""
        return operations / (self.tflops * 1e12 * self.utilisation)

    def link(self, devices: int) -> float:
        """Bytes a second that a device sends to its neighbour in a ring of so many."""
        return 1e9 * (self.inside if devices <= self.per_host else self.between)


@dataclasses.dataclass(frozen=True)
class Step:
    """A kind of training step.

    Attributes:
        name: in the tables.
        operations: FLOPs of a clip.
        trained: number of trained parameters.
        frozen: number of parameters that are held but not trained.
        fed: bytes of a clip that are sent to the device.
        stored: bytes of a clip that wait for the backward pass.
        contrastive: whether it compares each clip with all.
        decoded: whether the host decodes pictures and sound.
    """

    name: str
    operations: formulas.Operations
    trained: int
    frozen: int
    fed: int
    stored: int
    contrastive: bool
    decoded: bool = True


def main() -> None:
    """Parses what is assumed, and prints or writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for field in dataclasses.fields(Machine):
        parser.add_argument(f"--{field.name}", type=type(field.default), default=field.default)
    parser.add_argument("--document", type=Path, help="a page to write the tables into")
    options = vars(parser.parse_args())
    document = options.pop("document")
    made = pages(Machine(**options))
    if document:
        text = document.read_text()
        for name, page in made.items():
            text = tables.fill(text, name, page)
        document.write_text(text)
    else:
        print("\n\n".join(made.values()))


def pages(machine: Machine) -> dict[str, str]:
    """Each table by the name of its comment in the document."""
    steps = (align(), *fuse())
    return {
        "clip": clip_table(steps),
        "devices": device_table(steps, machine),
        "limits": limit_table(steps, machine),
        "sharding": sharding_table(steps),
    }


def align() -> Step:
    """Stage 1 as the preset `vidmimic2` trains it: layers are recomputed."""
    stage = paper_scale.make_stage(ENCODERS, SIZES, "bfloat16", remat=True)
    params = jax.eval_shape(lambda: stage.init(jax.random.PRNGKey(0), {}))
    trained, frozen = parameters.split(params, paper_scale.FROZEN, "FROZEN")
    return Step(
        "stage 1",
        formulas.alignment(ENCODERS, SIZES, remat=True),
        parameters.count(trained),
        parameters.count(frozen),
        _bytes(batches.clips(np.random.default_rng(0), SIZES, ENCODERS)),
        formulas.stored_bytes(ENCODERS, SIZES),
        contrastive=True,
    )


def fuse() -> tuple[Step, Step]:
    """Stage 2 through frozen towers, and from cached features."""
    rng, encoders = np.random.default_rng(0), {name: {"hidden_size": 768, **ENCODERS[name]} for name in ENCODERS}
    clips = batches.clips(rng, SIZES, encoders)
    stage = ours.intensity(encoders, SIZES, clips, "bfloat16")
    params = jax.eval_shape(lambda: stage.init(jax.random.PRNGKey(0), {}))
    trained, frozen = map(parameters.count, parameters.split(params, ("^towers/",), "frozen"))
    encoded, cached = (formulas.intensity(encoders, SIZES, cached) for cached in (False, True))
    read = _bytes(batches.features(rng, SIZES, encoders))
    # The fusion stores little for its backward pass.
    return (
        Step("stage 2", encoded, trained, frozen, _bytes(clips), 0, contrastive=False),
        Step("stage 2, cached", cached, trained, 0, read, 0, contrastive=False, decoded=False),
    )


def _bytes(batch: batches.Batch) -> int:
    return sum(array.nbytes for array in batch.values())


def clip_table(steps: Sequence[Step]) -> str:
    """Rows of what a clip and a device cost, however many devices there are."""
    rows = [
        (
            step.name,
            f"{step.trained / 1e6:.1f}",
            f"{step.frozen / 1e6:.1f}",
            f"{step.operations.step / 1e12:.3g}",
            f"{step.operations.repeated / step.operations.step:.0%}",
            f"{step.fed / 1e6:.2f}",
            f"{step.stored / 1e6:.0f}",
            f"{formulas.state_bytes(step.trained, step.frozen) / 1e9:.2f}",
        )
        for step in steps
    ]
    heading = ("step", "trained, millions", "frozen, millions", "TFLOP a clip", "of these recomputed")
    return table((*heading, "MB a clip sent to the device", "MB a clip stored", "GB of state"), rows)


def device_table(steps: Sequence[Step], machine: Machine) -> str:
    """Rows of what a step costs on so many devices."""
    rows = []
    for step in steps:
        for devices in DEVICES:
            batch = CLIPS * devices
            computing = machine.seconds(CLIPS * step.operations.step)
            loss = formulas.contrastive(CLIPS, batch, SIZES.width) if step.contrastive else 0.0
            logits = formulas.loss_bytes(CLIPS, batch) if step.contrastive else 0
            sent = formulas.sent_bytes(formulas.reduced_bytes(step.trained), devices)
            gathered = formulas.gathered_bytes(batch, SIZES.width) if step.contrastive else 0
            clips = CLIPS / computing
            rows.append(
                (
                    step.name,
                    devices,
                    f"{batch:,}",
                    f"{1e3 * computing:.3g}",
                    f"{sent / 1e9:.3g}",
                    f"{1e3 * sent / machine.link(devices):.3g}",
                    f"{gathered / 1e6:.3g}" if step.contrastive else "-",
                    f"{loss / (CLIPS * step.operations.step):.1e}" if step.contrastive else "-",
                    f"{logits / 1e6:.3g}" if step.contrastive else "-",
                    f"{clips * devices:,.0f}",
                    f"{clips * machine.per_host * step.fed / 1e9:,.0f}",
                )
            )
    heading = ("step", "devices", "global batch", "computing, ms", "gradients sent, GB", "sending, ms")
    more = ("embeddings received, MB", "loss / towers, FLOPs", "logits, MB", "clips/s", "GB/s into a host's devices")
    return table((*heading, *more), rows)


def limit_table(steps: Sequence[Step], machine: Machine) -> str:
    """Rows of the batches at which something other than the towers becomes the limit."""
    rows = []
    for step in steps:
        clip = machine.seconds(step.operations.step)
        reduced = formulas.reduced_bytes(step.trained)
        fewest = [formulas.sent_bytes(reduced, n) / machine.link(n) / clip for n in DEVICES]
        per_clip = formulas.contrastive(1, 2, SIZES.width) / 2  # on one of several devices, for each clip it sees
        room = 1e9 * machine.memory / 10
        rows.append(
            (
                step.name,
                " / ".join(f"{value:.3g}" for value in fewest),
                f"{step.operations.step / per_clip:.1e}" if step.contrastive else "-",
                f"{room / formulas.loss_bytes(CLIPS, 1):.1e}" if step.contrastive else "-",
                f"{machine.per_host / clip / machine.core:,.0f}" if step.decoded else "-",
            )
        )
    heading = ("step", f"clips a device below which sending takes longer, on {' / '.join(map(str, DEVICES))} devices")
    more = ("global batch at which the loss takes as long as the towers", "at which its logits take a tenth of memory")
    return table((*heading, *more, "cores of a host that decode for its devices"), rows)


def sharding_table(steps: Sequence[Step]) -> str:
    """Rows of the state of a device, replicated and with AdamW's moments split over the devices."""
    rows = []
    for step in steps:
        replicated = formulas.state_bytes(step.trained, step.frozen)
        for devices in DEVICES:
            sharded = formulas.state_bytes(step.trained, step.frozen, devices)
            saved = f"{(replicated - sharded) / 1e9:.3g}", f"{1 - sharded / replicated:.0%}"
            rows.append((step.name, devices, f"{replicated / 1e9:.3g}", f"{sharded / 1e9:.3g}", *saved))
    return table(("step", "devices", "replicated, GB", "moments split, GB", "saved, GB", "saved"), rows)


if __name__ == "__main__":
    main()
