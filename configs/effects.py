"""Refuses fields that are set on the command line but have no effect."""

from collections.abc import Collection

from ml_collections import ConfigDict

from configs.fields import value_at
from emi_jax.errors import UserError
from emi_jax.modalities import AUDIO, MODALITIES, TEXT

FUSION = "model.head.fusion."
NEEDED = {
    **dict.fromkeys((FUSION + "tcn_dilations", FUSION + "tcn_causal"), FUSION + "tcn"),
    **dict.fromkeys((FUSION + "lstm_hidden", FUSION + "gate", "model.lstm"), FUSION + "bilstm"),
    **dict.fromkeys((FUSION + "num_layers", FUSION + "num_heads", FUSION + "mlp_ratio"), FUSION + "decoder"),
    FUSION + "input_dropout": FUSION + "statistics",
    **dict.fromkeys(("augment.noise", "augment.tempo", "augment.semitones", "augment.shift"), "augment.voice"),
    **dict.fromkeys(("augment.colour", "augment.blur", "augment.degrees", "augment.scale"), "augment.face"),
    **dict.fromkeys(("model.lora.rank", "model.lora.alpha", "model.lora.dropout"), "model.lora.targets"),
}
"""Fields that have no effect without another one."""


def refuse_without_effect(config: ConfigDict, overridden: Collection[str]) -> None:
    """Refuses fields that are set on the command line, or by a part of a study, but have no effect.

    Raises:
        UserError: a field belongs to a head that is not in use, to a part that is switched off, to the scratch section
            of a loaded encoder, cuts what is not read, or names weights where those of a run of stage 1 are used.
    """
    for field in overridden:
        if field in NEEDED and not (value := value_at(config, NEEDED[field])):
            raise UserError(f"config.{field} does nothing: config.{NEEDED[field]} is {value!r}")
        if field == "data.length_buckets" and not {AUDIO, TEXT} & set(config.model.get("modalities", MODALITIES)):
            raise UserError(f"config.{field} does nothing: the run reads neither sound nor words, which alone are cut")
        parts = field.split(".")
        if parts[:2] == ["model", "head"] and len(parts) > 3 and parts[2] != config.model.head.name:
            raise UserError(
                f"config.{field} does nothing: the head in use is {config.model.head.name!r}; choose another with "
                f"--config.model.head.name={parts[2]}"
            )
        if parts[0] == "model" and parts[1] in MODALITIES and parts[2:] == ["pretrained"] and config.init_from:
            raise UserError(
                f"config.{field} does nothing: the {parts[1]} encoder is that of the run of stage 1 in "
                f"{config.init_from}; set it there, or add --config.init_from= to start without stage 1"
            )
        if parts[0] == "model" and parts[1] in MODALITIES and parts[2:3] == ["scratch"]:
            source = config.init_from or config.model[parts[1]].pretrained
            if source:
                raise UserError(
                    f"config.{field} does nothing: it is for an encoder from scratch, and the {parts[1]} encoder is "
                    f"loaded from {source}"
                )


def refuse_replaced(overridden: Collection[str], replaced: Collection[str], reason: str) -> None:
    """Refuses fields that are set on the command line of a study which replaces them in all of its parts.

    Args:
        overridden: the fields that are set.
        replaced: those that the study replaces.
        reason: what has their place.

    Raises:
        UserError: one of them is set.
    """
    if ignored := sorted(set(overridden) & set(replaced)):
        raise UserError(f"--config.{ignored[0]} does nothing in this study: {reason}")


def refuse_for_trained(overridden: Collection[str], use: str) -> None:
    """Refuses fields that are set on the command line of a use of a trained run, which the run's own config rules.

    Args:
        overridden: the fields.
        use: what the run is used for, which completes "does nothing".

    Raises:
        UserError: a field other than the folders of the run is set.
    """
    if ignored := sorted(set(overridden) - {"root", "workdir"}):
        raise UserError(
            f"--config.{ignored[0]} does nothing {use}: the run in the workdir is used as it was trained; "
            "leave it out, or train another run with it"
        )
