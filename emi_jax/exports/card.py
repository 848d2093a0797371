"""The model card of an exported run: what it was trained on, its scores, and what it must not be used for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from emi_jax.errors import UserError
from emi_jax.files import read_json
from emi_jax.inputs.dataset import Dataset
from emi_jax.modalities import MODALITIES
from emi_jax.report import score_tables, tables

APACHE, OTHER = "apache-2.0", "other"
SYNTHETIC = "synthetic"
CORPORA = {
    SYNTHETIC: "drawn faces and synthesised voices that come with the code, Apache 2.0",
    "vidmimic2": "Hume-Vidmimic2, under the terms of its authors",
    "cremad": "CREMA-D, Open Database License 1.0, contents under DbCL 1.0",
    "ravdess": "RAVDESS, CC BY-NC-SA 4.0: no commercial use",
    "meld": "MELD, tables and code GPL-3; the clips are excerpts of a television series",
}
"""The data by name of the corpus, with its terms."""
UNKNOWN = "a corpus of the person who trained the model; ask for its terms"

CARD = """---
license: {license}
library_name: jax
tags:
- emotional-mimicry-intensity
- multimodal
---

# {title}

Estimates the intensity of {labels} in a short clip of one person's face, voice and words. Each intensity is a number
from {low:g} to {high:g}. It says how strong an expression seems, not what the person feels.

## Use

`predict.py` needs jax, flatbuffers, numpy and safetensors, and no code of the project that trained the model. It reads
clips as arrays, whose names, shapes and preparation are in `preprocessing.json`; the number of clips is free, all other
sizes are fixed. `predictor.jax_export` holds StableHLO for {platforms}, written by jax {jax}.

```
python predict.py CLIP.npz
```

With emi-jax, from media files: `python run.py --config=configs/stage2.py --mode=predict --model=FOLDER_OR_ID
--input=CLIPS --output=DIR`.

## Data

* Corpus: {corpus}. Trained on its split{plural} {train_on}; content `{content}`.
* Encoders: {origins}.

## Scores

{scores}

## What it must not be used for

* **Without consent.** Everyone in a clip has to have agreed that face, voice and words are analysed, and what for.
* **Diagnosis.** It is no medical device, and no evidence of a person's health, character, honesty or state of mind.
* **Decisions about people**: hiring, work, education, insurance, credit, policing, migration, surveillance. The
  European Union forbids emotion recognition at work and in education, but for medical and safety reasons (Regulation
  (EU) 2024/1689, Article 5(1)(f)).
* **People unlike those in the data.** {bias}

## Files

| file | content |
| --- | --- |
| `predict.py`, `predictor.jax_export`, `preprocessing.json` | the model for jax alone |
| `model.safetensors` | all parameters; tensors are named by their path |
| `config.json`, `dataset.json`, `encoders/` | what emi-jax reads in addition, with the tokenizer's files |

Fingerprint of parameters, encoders and labels: `{fingerprint}`.

## License

{terms}
"""


def model_card(workdir: Path, config: Mapping[str, Any], dataset: Dataset, platforms: str, fingerprint: str) -> str:
    """The README.md of an exported run.

    Args:
        workdir: folder of the run, whose `metrics_SPLIT.json` are reported.
        config: of the run.
        dataset: its metadata.
        platforms: of the exported program, in words.
        fingerprint: of the model.
    """
    origins, synthetic = _origins(config), dataset.corpus == SYNTHETIC
    free = synthetic and not any(origins.values())
    train_on = list(config["data"]["train_on"])
    low, high = dataset.label_range
    corpus = CORPORA.get(dataset.corpus, UNKNOWN)
    return CARD.format(
        license=APACHE if free else OTHER,
        title=tables.escaped(f"{workdir.name}: intensities of {len(dataset.label_names)} emotions"),
        labels=tables.escaped(", ".join(dataset.label_names)),
        low=low,
        high=high,
        platforms=platforms,
        jax=jax.__version__,
        corpus=corpus,
        plural="s" if len(train_on) > 1 else "",
        train_on=tables.escaped(", ".join(train_on)),
        content=dataset.fingerprint[:12],
        origins="; ".join(f"{name}: {tables.escaped(origin) or 'from scratch'}" for name, origin in origins.items()),
        scores=_scores(workdir),
        bias=_bias(synthetic),
        fingerprint=fingerprint,
        terms="Apache 2.0."
        if free
        else f"The terms of the data ({corpus}) and of pretrained encoders apply to the weights and decide whether the "
        "model may be passed on. The code is under Apache 2.0.",
    )


def _scores(workdir: Path) -> str:
    """The scores of each evaluated split, with intervals and with what they mean."""
    parts = []
    for path in sorted(workdir.glob("metrics_*.json")):
        split, results = path.stem.removeprefix("metrics_"), read_json(path)
        try:
            found, meaning = score_tables.intensity_tables(results, split), score_tables.meaning(results, split)
        except KeyError as error:
            raise UserError(f"{path} lacks {error}: write it again with --mode=evaluate --split={split}") from error
        parts += [f"{table.caption}:\n\n{tables.markdown(table.header, table.rows)}" for table in found]
        parts.append(" ".join(meaning))
    return "\n\n".join(parts) or "None: the run was not evaluated before it was exported."


def _origins(config: Mapping[str, Any]) -> dict[str, str]:
    """Where the weights of each modality's encoder come from; "" where no data but the run's own made them."""
    model, origin = config["model"], {}
    for modality in MODALITIES:
        if modality not in model["modalities"]:
            continue
        origin[modality] = model[modality]["pretrained"]
        if config["init_from"]:
            stage_1 = Path(config["init_from"]) / "config.json"
            if stage_1.is_file():
                origin[modality] = read_json(stage_1)["model"][modality]["pretrained"]
            else:
                origin[modality] = origin[modality] or f"a run of stage 1, {Path(config['init_from']).name}"
    return origin


def _bias(synthetic: bool) -> str:
    if synthetic:
        return "Drawn faces and synthesised voices were all it saw: what it says about real people means nothing."
    return (
        "Scores hold for people and recordings like those of the data. Whether they differ by age, gender, skin "
        "colour, language, culture or disability was not measured: measure it on your own data first."
    )
