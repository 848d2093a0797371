"""The cases of the comparison, by name."""

import dataclasses

from benchmarks.comparison.shapes import CACHED, STAGE1, STAGE2, Sizes

WARMUP, STEPS, RATE, DECAY, CLIP = 10, 1000, 1e-4, 0.05, 1.0
"""Settings of the optimizer on both sides."""
NO_SIZES = Sizes(16, 0, 0.0, 0, 256)


@dataclasses.dataclass(frozen=True)
class Case:
    """One comparison.

    Attributes:
        name: as given to `--cases`.
        kind: the kind of work: `stage1`, `stage2`, `cached`, `fed`, `predict`, `bilstm`, `tcn`, `attention`,
            `contrastive`, `input`.
        stage: the stage to which it belongs; 0 for none.
        preset: `demo`, `base`, `paper` or `tiny`.
        sizes: sizes of its batch.
        length: T of a single module, or B of the contrastive loss.
    """

    name: str
    kind: str
    stage: int
    preset: str
    sizes: Sizes
    length: int = 0

    def resized(self, batch: int, num_frames: int, seconds: float) -> "Case":
        """The same case with another batch size, number of frames or seconds of audio; 0 keeps the case's own."""
        given = {"batch": batch, "num_frames": num_frames, "seconds": seconds}
        return dataclasses.replace(
            self, sizes=dataclasses.replace(self.sizes, **{name: value for name, value in given.items() if value})
        )


PREDICTED = Sizes(1, 8, 10.0, 64, 256)
"""One clip of ten seconds."""

CASES = {
    case.name: case
    for case in (
        Case("stage1-demo", "stage1", 1, "demo", STAGE1["demo"]),
        Case("stage1-base", "stage1", 1, "base", STAGE1["base"]),
        Case("stage2-demo", "stage2", 2, "demo", STAGE2["demo"]),
        Case("stage2-base", "stage2", 2, "base", STAGE2["base"]),
        Case("cached-demo", "cached", 2, "demo", CACHED["demo"]),
        Case("cached-base", "cached", 2, "base", CACHED["base"]),
        *(Case(f"bilstm-{T}", "bilstm", 2, "base", NO_SIZES, T) for T in (50, 200, 600)),
        Case("tcn", "tcn", 2, "base", NO_SIZES, 200),
        Case("attention", "attention", 1, "base", Sizes(8, 0, 0.0, 0, 768, 12), 197),
        *(Case(f"contrastive-{B}", "contrastive", 1, "base", NO_SIZES, B) for B in (256, 1024, 4096)),
        Case("predict-10s", "predict", 2, "base", PREDICTED),
        Case("input", "input", 0, "demo", STAGE1["demo"]),
        Case("stage1-fed", "fed", 1, "demo", STAGE1["demo"]),
        *(
            Case(f"{kind}-{preset}", kind, stage, preset, sizes[preset])
            for preset in ("paper", "tiny")
            for kind, stage, sizes in (("stage1", 1, STAGE1), ("stage2", 2, STAGE2), ("cached", 2, CACHED))
        ),
        Case("input-paper", "input", 0, "paper", STAGE1["paper"]),
    )
}
COMPARED = ("demo", "base")
"""The presets whose cases are compared by default; `benchmarks.accelerator` uses the others."""
