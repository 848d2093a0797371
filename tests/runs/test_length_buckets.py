"""Batches of clips of similar length: the same losses, gradients, scores, features and resumed runs."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest

from configs import stage1 as configs_stage1
from configs import stage2 as configs_stage2
from emi_jax.errors import UserError
from emi_jax.inputs.loader import batches
from emi_jax.inputs.regrouped import regroup
from emi_jax.inputs.sampling import Epochs
from emi_jax.runs.checks import check_fields
from emi_jax.runs.evaluation import evaluator
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.features import extract, inputs
from emi_jax.runs.lengths import length_buckets
from emi_jax.train.mapping import REPLICATED, SHARDED, Mapping
from emi_jax.train.parameters import merge
from emi_jax.train.seeds import stacked
from tests.configs import tiny_stage1, tiny_stage2
from tests.fakes import make_dataset, make_example

BUCKETS = ((0.4, 0.75), (0.75, 0.75))


def dataset_of_lengths():
    """Clips of which several are in each bucket, in no order."""
    dataset, rng = make_dataset(), np.random.default_rng(3)
    for split, examples in dataset.builder.examples.items():
        for number in range(len(examples)):
            sizes = {"samples": int(rng.choice((2500, 3900, 5500, 9000))), "words": int(rng.choice((0, 2, 3, 4, 6)))}
            examples[number] = make_example(rng, f"{split}{number}", frames=3, **sizes)
    return dataset


def opened(config, workdir, buckets=BUCKETS, dataset=None):
    config.data.length_buckets = buckets
    return Experiment.open(config, dataset or dataset_of_lengths(), workdir, jax.devices()[:1])


def stage1(folder):
    """Without faces, whose frames stay as they are."""
    config = tiny_stage1()
    config.model.pairs, config.loss.vision = ("audio",), 0.0
    return config


def stage2(folder):
    """The whole fusion on frozen towers, which run in every step."""
    config = tiny_stage2()
    config.model.modalities = ("audio", "text")
    config.model.head.fusion.attention_bias = True
    return config


def partly_cached(folder):
    """A small fusion on cached features of the voice; the text tower is trained."""
    config = tiny_stage2()
    config.model.modalities, config.train.frozen = ("audio", "text"), ("^towers/audio/",)
    config.model.head.fusion.update(bilstm=False, decoder=False)
    config.features.update(dir=str(folder / "features"), renditions=1)
    return config


def loss_and_gradients(experiment):
    """Of the trained parameters in training mode, by the step's own function of them; compiled for each shape."""
    stage = experiment.stage
    trained, frozen = experiment.initial_params()

    def value(trained, batch, rng):
        return stage.loss(stage.outputs(merge(trained, frozen), batch, rng), batch)[0]

    mapping = Mapping("shard_map", jax.devices()[:1])
    mapped = mapping.map(jax.value_and_grad(value), (REPLICATED, SHARDED, REPLICATED), output=REPLICATED)
    return lambda batch: jax.device_get(mapped(trained, batch, jax.random.PRNGKey(3)))


@pytest.mark.parametrize("make", [stage1, stage2, partly_cached])
def test_loss_and_gradients_of_a_short_batch_are_those_at_full_length(make, tmp_path):
    experiment = opened(make(tmp_path), tmp_path / "run")
    examples, transform = inputs(experiment, "train", augment=False)
    buckets = length_buckets(experiment, "train")
    assert set(buckets.of_clips) == {0, 1, 2}
    computed = loss_and_gradients(experiment)
    chosen = np.flatnonzero(buckets.of_clips < 2)
    found = []
    for used in (buckets.at(chosen), None):
        clips = [examples[int(row)] for row in chosen]
        batch = next(batches(clips, transform, Epochs(len(chosen), 8, None, used)))
        found.append((*computed(batch), {name: array.shape for name, array in batch.items()}))
    (loss, gradients, short), (full_loss, full_gradients, full) = found
    cut = {name for name in short if short[name] != full[name]}
    assert {name.split("_")[0].split("/")[0] for name in cut} >= {"audio", "token"}
    assert loss == pytest.approx(full_loss, rel=1e-5)
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(full_gradients))
    assert largest > 0
    for one, other in zip(jax.tree.leaves(gradients), jax.tree.leaves(full_gradients), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * largest)


def test_evaluation_gives_the_same_scores_in_the_order_of_the_split(tmp_path):
    found = []
    for buckets in (BUCKETS[1:], ()):
        config = stage2(tmp_path)
        config.train.batch_size = 3
        config.model.head.fusion.update(bilstm=False, decoder=False, attention_bias=False)
        experiment = opened(config, tmp_path / "run", buckets)
        params = experiment.mapping.replicate(merge(*experiment.initial_params()))
        found.append(evaluator(experiment, "valid").run(params))
    (short_scores, short), (scores, full) = found
    assert short_scores[0] == pytest.approx(scores[0], abs=1e-5)
    assert short["clip"].tolist() == list(range(7))
    for name, array in full.items():
        np.testing.assert_allclose(short[name], array, atol=1e-5, err_msg=name)


def test_stored_features_are_the_same_in_the_order_of_the_split(tmp_path):
    config, names = partly_cached(tmp_path), {}
    config.train.frozen = ("^towers/",)
    for name, buckets in (("short", BUCKETS), ("full", ())):
        config.features.dir = str(tmp_path / name)
        extract(opened(config, tmp_path / "run", buckets), "train")
        names[name] = sorted(str(path.relative_to(tmp_path / name)) for path in (tmp_path / name).rglob("*"))
    assert names["short"] == names["full"]
    read = []
    for name, buckets in (("short", ()), ("full", BUCKETS)):  # the other way round: a cache serves both
        config.features.dir = str(tmp_path / name)
        read.append(inputs(opened(config, tmp_path / "run", buckets), "train", augment=True)[0])
    for row in range(12):
        for rendition in (0, 1):
            short, full = (clips[row].rendition(rendition) for clips in read)
            assert {name: array.shape for name, array in short.items()} == {n: a.shape for n, a in full.items()}
            assert short["clip"] == row
            for modality in ("audio", "text"):
                mask = full[f"{modality}/mask"]
                np.testing.assert_array_equal(short[f"{modality}/mask"], mask)
                for part in ("features", "clean", "supervised", "times"):
                    one, other = (arrays[f"{modality}/{part}"][mask] for arrays in (short, full))
                    np.testing.assert_allclose(one, other, atol=2e-3, err_msg=f"{row} {modality} {part}")


def test_batches_of_several_seeds_resume_exactly_within_an_epoch(tmp_path):
    """Stacked as they are for members of an ensemble: in a step they have the same size."""
    experiment = opened(tiny_stage1(), tmp_path)
    examples, transform = inputs(experiment, "train", augment=True)
    plans = [Epochs(len(examples), 3, seed, length_buckets(experiment, "train")) for seed in (0, 1)]

    def stream(first_step):
        return stacked([batches(examples, transform, plan, seed=plan.seed, first_step=first_step) for plan in plans])

    whole = list(itertools.islice(stream(0), 8))  # two epochs
    assert len({batch["audio"].shape for batch in whole}) > 1
    for number, batch in enumerate(itertools.islice(stream(5), 3), 5):
        for name, array in batch.items():
            np.testing.assert_array_equal(array, whole[number][name], err_msg=name)
    rows = [np.concatenate([batch["clip"][:, place] for batch in whole[:4]]) for place in (0, 1)]
    assert sorted(rows[0]) == sorted(rows[1]) == list(range(12))
    assert rows[0].tolist() != rows[1].tolist()


def test_a_regrouped_split_has_the_lengths_of_its_clips(tmp_path):
    dataset = dataset_of_lengths()
    experiment = opened(tiny_stage1(), tmp_path, dataset=dataset)
    known = {split: length_buckets(experiment, split).of_clips for split in ("train", "valid")}
    places = [("valid", 3), ("train", 5), ("train", 0), ("valid", 0)]
    moved = dataclasses.replace(experiment, dataset=regroup(dataset, {"train": places}))
    assert length_buckets(moved, "train").of_clips.tolist() == [known[split][row] for split, row in places]


@pytest.mark.parametrize(
    "buckets", [(0.5,), ((0.5, 0.5), (0.25, 0.5)), ((0.0, 0.5),), ((0.5, 1.5),), ((1.0, 1.0),), ((0.5,),), (("a", 1),)]
)
def test_buckets_that_do_not_ascend_or_are_no_pairs_are_refused(buckets, tmp_path):
    with pytest.raises(UserError, match=r"config.data.length_buckets=.*: expected pairs of fractions"):
        opened(tiny_stage1(), tmp_path, buckets)


@pytest.mark.parametrize("stage", [configs_stage1, configs_stage2])
def test_the_scale_of_the_paper_has_buckets(stage):
    config = stage.get_config("vidmimic2")
    assert len(config.data.length_buckets) == 3
    check_fields(config)


def test_a_run_that_reads_frames_alone_has_no_buckets(tmp_path):
    config = tiny_stage2()
    config.model.modalities = ("vision",)
    assert length_buckets(opened(config, tmp_path), "train") is None
