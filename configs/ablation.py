"""The ablation grid over stage 2, five seeds a cell, from the feature cache.

python run.py --config=configs/ablation.py
python run.py --config=configs/ablation.py:vidmimic2 --config.data.dir=DIR
python run.py --config=configs/ablation.py:descriptors --config.data.dir=DIR --config.data.corpus=folder
python run.py --config=configs/ablation.py:whole --config.grid.only="('full', 'no-qam')"
"""

from ml_collections import ConfigDict

from configs import presets, stage2, studies
from configs.stage2 import WINNERS, Changes

Cell = tuple[str, str, Changes]

ONLY = "model.modalities"
UNSUPERVISED = ("loss.quality", 0.0)
PAPER: Changes = (("loss.correlation", 0.0), UNSUPERVISED, ("train.corrupt", 0.0))
# The encoders before stage 1: newly initialised, or with pretrained weights.
UNALIGNED: Changes = (
    ("features.dir", "{config.features.dir}-unaligned"),
    *((f"model.{name}.pretrained", f"{{config.init_from}}/initial/{name}") for name in ("vision", "audio", "text")),
    ("init_from", ""),
)
CELLS: tuple[Cell, ...] = (
    ("full", "full model", ()),
    ("no-alignment", "minus stage-1 alignment", UNALIGNED),
    ("no-tcn", "minus TCN", (("model.head.fusion.tcn", False),)),
    ("no-bilstm", "minus BiLSTM", (("model.head.fusion.bilstm", False),)),
    ("no-gate", "minus gate", (("model.head.fusion.gate", False),)),
    ("no-qam", "minus QAM", (("model.head.fusion.quality", False), UNSUPERVISED)),
    ("no-decoder", "minus decoder (mean pool + MLP)", (("model.head.fusion.decoder", False),)),
    ("no-corruption", "minus corruption in training", (("train.corrupt", 0.0), UNSUPERVISED)),
    ("no-supervision", "minus quality supervision", (UNSUPERVISED,)),
    ("attention", "plus quality in the attention", (("model.head.fusion.attention_bias", True),)),
    ("steps", "positions in steps, not seconds", (("model.head.fusion.positions", "steps"),)),
    ("paper", "the paper's: MSE alone, no corruption", PAPER),
    ("vision", "face alone", ((ONLY, ("vision",)),)),
    ("audio", "voice alone", ((ONLY, ("audio",)),)),
    ("text", "words alone", ((ONLY, ("text",)),)),
    ("vision-audio", "face and voice", ((ONLY, ("vision", "audio")),)),
    ("vision-text", "face and words", ((ONLY, ("vision", "text")),)),
    ("audio-text", "voice and words", ((ONLY, ("audio", "text")),)),
    ("mse", "loss: MSE alone", (("loss.correlation", 0.0),)),
    ("ccc", "loss: CCC in place of MSE", (("loss.mse", 0.0), ("loss.correlation", 0.0), ("loss.ccc", 1.0))),
    ("concatenation", "head and training of the 2025 winner", WINNERS["concatenation"]),
    (
        "concatenation-ours",
        "head of the 2025 winner, our training",
        (("model.head.name", "concatenation"), UNSUPERVISED),
    ),
    ("text-anchored", "head and training of the 2026 winner", WINNERS["text_anchored"]),
    (
        "text-anchored-ours",
        "head of the 2026 winner, our training",
        (("model.head.name", "text_anchored"), UNSUPERVISED),
    ),
)
"""Name, title and changes of each cell; `{config.FIELD}` stands for the grid's own field."""

HEAD = "model.head.fusion"
WITHIN = ("features.standardise", "subject")
SINGLE = ("train.members", 1)
# The training of a head that reads the sequences, as in the other presets.
SEQUENCES: Changes = (
    ("loss.unimodal", 0.0),
    ("train.weight_decay", 0.05),
    ("train.rate_factors", ((".*", 1.0),)),  # those of the preset name parts of the statistics' readout
    ("train.select", "best"),
    ("train.batch_size", 32),
    ("train.epochs", 12),
    SINGLE,
)
FUSION: Changes = (
    *((f"{HEAD}.{name}", value) for name, value in (("statistics", False), ("sequences", True), ("dropout", 0.3))),
    *SEQUENCES,
)
CORRUPTED: Changes = (("train.corrupt", 0.3), ("features.renditions", 2))
SUPERVISED: Changes = (*CORRUPTED, (f"{HEAD}.quality", True), ("loss.quality", 0.1))
SMALL_CONCATENATION: Changes = (
    *SEQUENCES,
    ("model.head.name", "concatenation"),
    ("model.head.concatenation.token", "mean"),  # descriptors of words have no class token
    ("model.head.concatenation.width", 64),
    ("model.head.concatenation.vision_hidden", 64),
)
DESCRIPTOR_CELLS: tuple[Cell, ...] = (
    ("full", "statistics, five models averaged", ()),
    ("vision", "face alone", ((ONLY, ("vision",)),)),
    ("audio", "voice alone", ((ONLY, ("audio",)),)),
    ("text", "words alone", ((ONLY, ("text",)),)),
    ("single", "one model", (SINGLE,)),
    ("weighted", "one model, weighted by the QAM", ((f"{HEAD}.quality", True), SINGLE)),
    ("fusion", "one model, fusion of the sequences", (*FUSION, (f"{HEAD}.quality", True))),
    ("fusion-no-qam", "one model, fusion without QAM", FUSION),
    ("fusion-steps", "one model, fusion without QAM, positions in steps", (*FUSION, (f"{HEAD}.positions", "steps"))),
    ("fusion-supervised", "one model, fusion with corruption and supervision", (*FUSION, *SUPERVISED)),
    ("fusion-corrupted", "one model, fusion without QAM with corruption", (*FUSION, *CORRUPTED)),
    ("concatenation", "one model, head of the 2025 winner", SMALL_CONCATENATION),
    ("subject", "within subjects: statistics, five models averaged", (WITHIN,)),
    ("subject-vision", "within subjects: face alone", (WITHIN, (ONLY, ("vision",)))),
    ("subject-audio", "within subjects: voice alone", (WITHIN, (ONLY, ("audio",)))),
    ("subject-text", "within subjects: words alone", (WITHIN, (ONLY, ("text",)))),
    ("subject-single", "within subjects: one model", (WITHIN, SINGLE)),
    (
        "subject-fusion",
        "within subjects: one model, fusion of the sequences",
        (WITHIN, *FUSION, (f"{HEAD}.quality", True)),
    ),
)
"""The cells of the preset `descriptors`: few clips, for which statistics over time replace the sequences."""


def get_config(preset: str = "demo") -> ConfigDict:
    """Returns the config of the grid; presets as for stage 2."""
    return study("ablation", preset)


def study(name: str, preset: str) -> ConfigDict:
    """The config of a study over the cells of the grid, in `ROOT/NAME`."""
    config = presets.apply(stage2.start(studies.STUDY), preset, PRESETS)
    suffix = "_whole" if "whole" in config.preset.split(",") else ""
    presets.place(config, name + suffix)
    if config.preset == "demo":
        shrink(config)
    config.study = name
    config.grid.folder = presets.under_root(config, "ablation" + suffix)
    config.grid.cells = DESCRIPTOR_CELLS if is_described(config) else CELLS
    return config


def is_described(config: ConfigDict) -> bool:
    """Whether the config's scale reads descriptors in place of encoders."""
    return config.preset.partition(",")[0].endswith("descriptors")


def shrink(config: ConfigDict) -> None:
    """The demo's fusion, small enough for a hundred trainings in 15 to 20 minutes on two cores."""
    stage2.resize_heads(config, width=64, vision_hidden=64)
    config.model.head.fusion.num_layers = 1
    config.train.epochs = 3
    config.train.evaluate_every = 1.0


def whole(config: ConfigDict) -> None:
    """The demo's own fusion and epochs, in place of the small fusion and the three epochs of its grid; takes hours."""


PRESETS = stage2.PRESETS | {"whole": whole}
