"""Both stages of the twin and ours: outputs, losses and the gradient of every parameter."""

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from benchmarks.comparison import ours, theirs  # noqa: E402
from benchmarks.comparison.batches import clips, features  # noqa: E402
from benchmarks.comparison.twin import weights  # noqa: E402
from emi_jax.train.mapping import REPLICATED, SHARDED, Mapping  # noqa: E402
from tests.benchmarks import tiny  # noqa: E402

ENCODINGS = {
    "padded": (tiny.ENCODERS, tiny.clips()),
    "group norm": (tiny.GROUP_NORM, clips(np.random.default_rng(1), tiny.SIZES, tiny.ENCODERS, padded=False)),
}


def results_of(stage, flat, batch):
    """Our loss, its parts, the gradients by path and what `forward` gives."""

    def everything(params, batch):
        def loss(p):
            return stage.loss(stage.outputs(ours.tree(p), batch, jax.random.key(0)), batch)

        return jax.value_and_grad(loss, has_aux=True)(params), stage.forward(ours.tree(params), batch)

    mapped = Mapping("shard_map", jax.devices()[:1]).map(everything, (REPLICATED, SHARDED))
    ((loss, parts), gradients), outputs = jax.tree.map(np.asarray, mapped(flat, batch))
    return loss, parts, gradients, outputs


def gradient(parameter):
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


@pytest.mark.parametrize("kind", ENCODINGS)
def test_stage_1_has_the_same_loss_embeddings_and_gradients(kind):
    encoders, batch = ENCODINGS[kind]
    stage = ours.alignment(encoders, tiny.SIZES, tiny.PAIRS, batch)
    twin = theirs.alignment(encoders, tiny.SIZES, tiny.PAIRS)
    flat = ours.draw(stage, std=0.2)
    weights.load(twin, flat, stage.model.towers)
    loss, parts, gradients, embedded = results_of(stage, flat, batch)
    tensors = tiny.torch_batch(batch)
    their_loss, their_parts = twin(tensors)
    their_loss.backward()

    assert loss == pytest.approx(their_loss.item(), rel=tiny.TOLERANCE)
    for name, part in their_parts.items():
        assert parts[name] == pytest.approx(part.item(), rel=tiny.TOLERANCE)
    their_embedded = {
        f"{name}/{side}": value.detach().numpy()
        for name, (left, text, _) in twin.embed(tensors).items()
        for side, value in (("left", left), ("text", text))
    }
    present = batch["present"].all(1)
    tiny.assert_agree(
        {name: embedded[name][present] for name in their_embedded},
        {name: value[present] for name, value in their_embedded.items()},
    )
    tiny.assert_agree(gradients, weights.fetch(twin, flat, stage.model.towers, gradient))


@pytest.mark.parametrize("kind", ["padded", "cached"])
def test_stage_2_has_the_same_loss_predictions_and_gradients(kind):
    encoders, batch = ENCODINGS.get(kind, (tiny.ENCODERS, None))
    if batch is None:
        batch = features(np.random.default_rng(2), tiny.SIZES, encoders)
    example = ENCODINGS["padded"][1]
    stage = ours.intensity(encoders, tiny.SIZES, example, modality_dropout=0.0, **tiny.FUSION)
    twin = theirs.intensity(encoders, tiny.SIZES, modality_dropout=0.0, **tiny.FUSION)
    flat = ours.draw(stage, std=0.2)
    weights.load(twin, flat, stage.towers)
    loss, parts, gradients, outputs = results_of(stage, flat, batch)
    tensors = tiny.torch_batch(batch)
    their_loss, their_parts = twin(tensors)
    their_loss.backward()

    assert loss == pytest.approx(their_loss.item(), rel=tiny.TOLERANCE)
    for name, part in their_parts.items():
        assert parts[name] == pytest.approx(part.item(), rel=tiny.TOLERANCE, abs=1e-5)
    with torch.no_grad():
        tiny.assert_agree({"predictions": outputs["predictions"]}, {"predictions": twin.predict(tensors).numpy()})
    theirs_found = weights.fetch(twin, flat, stage.towers, gradient)
    fusion = {path for path in flat if path.startswith("fusion/")}
    tiny.assert_agree({path: gradients[path] for path in fusion}, {path: theirs_found[path] for path in fusion})


def test_weights_survive_the_round_trip():
    encoders, batch = ENCODINGS["padded"]
    stage = ours.intensity(encoders, tiny.SIZES, batch, **tiny.FUSION)
    twin = theirs.intensity(encoders, tiny.SIZES, **tiny.FUSION)
    flat = ours.draw(stage)
    paths = weights.load(twin, flat, stage.towers)
    back = weights.fetch(twin, flat, stage.towers)
    assert back.keys() == flat.keys() == set(paths.values())
    assert all(np.array_equal(back[path], flat[path]) for path in flat)


def test_a_parameter_without_a_counterpart_is_named():
    encoders, batch = ENCODINGS["padded"]
    stage = ours.alignment(encoders, tiny.SIZES, tiny.PAIRS, batch)
    twin = theirs.alignment(encoders, tiny.SIZES, tiny.PAIRS)
    flat = ours.draw(stage)
    del flat["pairs/vision/logit_scale"]
    with pytest.raises(ValueError, match=r"pairs\.vision\.logit_scale"):
        weights.load(twin, flat, stage.model.towers)
