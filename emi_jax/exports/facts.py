"""What a user of an exported model has to know of its inputs and outputs, as preprocessing.json holds it."""

from typing import Any

from emi_jax.exports.program import PLATFORMS, input_names
from emi_jax.modalities import AUDIO, MODALITIES, SAMPLE_RATE, TEXT, VISION
from emi_jax.runs.experiment import Experiment

MEANING = {
    "frames": "pictures of the face as RGB, cropped as `clips` says; normalised by the program",
    "frame_mask": "True: a face was found in this frame; all frames that are given, by default",
    "frame_times": "seconds since the clip's start",
    "audio": "16-bit samples of one channel from the clip's start; scaled and normalised by the program",
    "audio_mask": "True: a sample; all that are given, by default",
    "tokens": "ids from the tokenizer, special tokens included; leave out all arrays of an empty transcript",
    "token_mask": "True: a token; all that are given, by default",
    "token_times": "seconds since the clip's start: the middle of the token's word; for special tokens 0 before the "
    "words, and the clip's length after them",
    "features": "the steps of the user's own features or descriptors, spread over the clip",
    "mask": "True: a step; all that are given, by default",
    "times": "seconds since the clip's start",
}
OUTPUTS = {
    "intensities": "of each label, in the units of the labels",
    "weights": f"weight of each modality ({', '.join(MODALITIES)}); 0 for one that is missing",
    "share": "effective share of each modality",
    "reliability": "mean reliability of the steps of each modality",
    "informed": "False: the clip had no modality, and its intensities are a learned prior",
}


def preprocessing(experiment: Experiment, tokenizer_files: list[str]) -> dict[str, Any]:
    """The content of preprocessing.json.

    Args:
        experiment: the run.
        tokenizer_files: paths in the exported folder of the files of its tokenizer.
    """
    dataset, transform = experiment.dataset, experiment.transform
    inputs: dict[str, dict[str, Any]] = {}
    for modality, (steps, mask, *times) in input_names(transform).items():
        for name in (steps, mask, *times):
            inputs[name] = {
                "modality": modality,
                "shape": list(transform.padding[name].shape),
                "dtype": str(transform.padding[name].dtype),
                "mask": mask,
                "needs": times if name == steps else [steps],
                "meaning": MEANING[name.rpartition("/")[2]],
            }
    return {
        "labels": {"names": list(dataset.label_names), "range": list(dataset.label_range)},
        "inputs": inputs,
        "static": "all sizes of a clip's arrays: what is shorter is padded with zeros and masked",
        "outputs": OUTPUTS,
        "platforms": list(PLATFORMS),
        "modalities": _modalities(experiment, tokenizer_files),
        "clips": dict(dataset.clip_options),
    }


def _modalities(experiment: Experiment, tokenizer_files: list[str]) -> dict[str, dict[str, Any]]:
    """How the inputs of each modality are prepared."""
    encoders, shape = experiment.encoders, experiment.transform.shape
    prepared: dict[str, dict[str, Any]] = {}
    for modality in shape.modalities:
        tower = getattr(encoders.towers, modality)
        if modality in encoders.own:
            prepared[modality] = {"features": dict(experiment.dataset.features[modality])}
        elif modality in encoders.describers:
            config: Any = encoders.describers[modality].config
            prepared[modality] = {"descriptors": config.model_type, "config": f"encoders/{modality}/config.json"}
        elif modality == VISION:
            prepared[modality] = {
                "frames": shape.num_frames,
                "frame_rate": shape.frame_rate or None,
                "choice": "of the frames at `frame_rate` per second (null: of all) the middle one of each of `frames` "
                "equal parts; where none of these shows a face, of those that do",
                "image_size": shape.image_size,
                "image_mean": list(tower.image_mean),
                "image_std": list(tower.image_std),
            }
        elif modality == AUDIO:
            prepared[modality] = {
                "sample_rate": SAMPLE_RATE,
                "seconds": shape.num_samples / SAMPLE_RATE,
                "normalize": tower.normalize,
            }
        elif modality == TEXT:
            prepared[modality] = {"tokens": shape.num_tokens, "tokenizer": tokenizer_files}
    return prepared
