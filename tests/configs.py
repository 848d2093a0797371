"""The shipped configs, shrunk to run in seconds."""

from ml_collections import ConfigDict

from configs import stage1, stage2


def shrink_sizes(config: ConfigDict) -> ConfigDict:
    """Short clips, a small model behind the encoders, batches of 8 of one size, and one log line a step."""
    config.root = "nowhere"  # reports show what lies there
    config.data.update(num_frames=3, seconds=0.5, num_tokens=8, length_buckets=())
    config.train.update(batch_size=8, epochs=5, log_every=1, evaluate_every=5.0, save_every=5.0)
    config.train.optimizer = "adamw"  # Muon has a loop for each weight matrix, which takes seconds to compile
    if config.stage == "alignment":
        config.model.width = 8
    else:
        config.init_from = ""
        config.features.update(dir="", renditions=0)
        config.model.modality_dropout = 0.0
        stage2.resize_heads(config, width=16, dropout=0.0, num_layers=1, tcn_dilations=(1, 2))
    return config


def shrink(config: ConfigDict) -> ConfigDict:
    """A config of small sizes with tiny encoders from scratch, without dropout."""
    model = config.model
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    model.vision.config.update(image_size=16, patch_size=8, **small)
    model.audio.config.update(conv_dim=(8,) * 4, num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2, **small)
    model.text.config.update(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **small)
    model.text.scratch.vocab_size = 80
    return shrink_sizes(config)


def tiny_stage1() -> ConfigDict:
    return shrink(stage1.get_config())


def tiny_stage2() -> ConfigDict:
    return shrink(stage2.get_config())


def light_stage1() -> ConfigDict:
    """Stage 1 of face and words alone, which compiles in half the time."""
    config = tiny_stage1()
    config.model.pairs, config.loss.audio = ("vision",), 0.0
    return config


def light_stage2(modalities: tuple[str, ...] = ("vision", "text")) -> ConfigDict:
    """Stage 2 with a head without temporal enhancers and decoder, which compiles in a third of the time."""
    config = tiny_stage2()
    config.model.modalities = modalities
    config.model.head.fusion.update(width=8, num_heads=2, tcn=False, bilstm=False, decoder=False)
    return config
