"""Checkpoints: what is restored, what is kept, and how damage differs from other errors."""

import errno
import hashlib
import itertools
import json
import logging
import shutil
import threading
import time
from pathlib import Path

import jax
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from emi_jax.errors import UserError
from emi_jax.train import seal
from emi_jax.train.checkpoints import Checkpoints, Progress, restore_best
from emi_jax.train.mapping import Mapping
from emi_jax.train.step import create_state


def progress(step: int, bias: int = 3, optimizer: optax.GradientTransformation | None = None) -> Progress:
    """Progress whose leaves all depend on the step, on two devices."""
    params = {
        "layer": {"kernel": np.full((64, 64), step, np.float32), "bias": np.arange(bias, dtype=np.float32) + step}
    }
    state = create_state(params, {"frozen": np.zeros(2)}, optimizer or optax.adam(0.1), averaged=True)
    state = state.replace(step=np.int32(step))
    state, rng = Mapping("shard_map", jax.devices()[:2]).replicate((state, jax.random.PRNGKey(step)))
    return Progress(state, rng, step)


def save(folder, steps, keep=3, best=()):
    """Saves a latest checkpoint at each step, and a best one at the steps that have a goal."""
    checkpoints = Checkpoints(folder, keep)
    goals = dict(best)
    for step in steps:
        if step in goals:
            checkpoints.save_best(step, progress(step).state.evaluated_params, [goals[step]])
        checkpoints.save(progress(step))
    checkpoints.close()


def restore(folder, like=None):
    checkpoints = Checkpoints(folder, 3)
    try:
        return checkpoints.restore_last(like or progress(0))
    finally:
        checkpoints.close()


def best(folder):
    return restore_best(folder, progress(0).state.evaluated_params)


def content(folder):
    """The hash of every file below a folder, by name."""
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def largest_file(folder):
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def test_state_rng_and_position_are_restored_bit_for_bit(tmp_path):
    save(tmp_path, [7])
    found, expected = restore(tmp_path), progress(7)
    assert found.batches == 7
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(one, other)
        assert np.asarray(one).dtype == np.asarray(other).dtype
    assert found.state.params["layer"]["kernel"].sharding.is_fully_replicated
    assert len(found.state.params["layer"]["kernel"].sharding.device_set) == 2


def test_the_latest_checkpoints_and_the_best_one_are_kept(tmp_path):
    save(tmp_path, [1, 2, 3, 4], keep=2, best={1: 0.1, 2: 0.5, 3: 0.4, 4: 0.5}.items())
    assert sorted(path.name for path in (tmp_path / "last").iterdir()) == ["3", "4"]
    assert best(tmp_path)["layer"]["kernel"][0, 0] == 2
    save(tmp_path, [5], best=[(5, 0.45)])  # after a restart, the goal to beat is still 0.5
    assert best(tmp_path)["layer"]["kernel"][0, 0] == 2
    save(tmp_path, [6], best=[(6, 0.55)])
    assert best(tmp_path)["layer"]["kernel"][0, 0] == 6


def test_best_holds_the_evaluated_parameters_and_no_optimiser_state(tmp_path):
    save(tmp_path, [2], best=[(2, 0.5)])
    sealed = json.loads((tmp_path / "best" / "2" / "arrays" / "seal.json").read_text())
    assert sealed["arrays"] == {"layer/bias": ["float32", 3], "layer/kernel": ["float32", 64, 64]}


def exchange_arrays(step_folder):
    """Replaces the arrays by readable but different ones, which only the hash reveals."""
    other = step_folder.parent / "3" / "arrays"
    shutil.copytree(other, step_folder / "arrays", ignore=shutil.ignore_patterns("seal.json"), dirs_exist_ok=True)


def flip_a_byte(step_folder):
    path = largest_file(step_folder / "arrays")
    flipped = bytearray(path.read_bytes())
    flipped[len(flipped) // 2] ^= 0xFF
    path.write_bytes(flipped)


def cut_off(step_folder):
    path = largest_file(step_folder / "arrays")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def lose_a_file(step_folder):
    largest_file(step_folder / "arrays").unlink()


def lose_the_seal(step_folder):
    (step_folder / "arrays" / "seal.json").unlink()


def empty_the_seal(step_folder):
    (step_folder / "arrays" / "seal.json").write_bytes(b"")


DAMAGES = [exchange_arrays, flip_a_byte, cut_off, lose_a_file, lose_the_seal, empty_the_seal]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_previous_one_is_used(damage, tmp_path, caplog):
    save(tmp_path, [3, 9])
    damage(tmp_path / "last" / "9")
    with caplog.at_level(logging.WARNING, logger="emi_jax"):
        assert restore(tmp_path).batches == 3
    assert f"checkpoint {tmp_path / 'last' / '9'} is damaged: " in caplog.text
    save(tmp_path, [9])  # the same step can be saved again
    assert restore(tmp_path).batches == 9


def test_resume_refuses_a_run_whose_checkpoints_are_all_damaged(tmp_path):
    save(tmp_path, [3])
    cut_off(tmp_path / "last" / "3")
    for _ in range(2):
        with pytest.raises(UserError, match=r"all checkpoints in .* are damaged, and were moved to .*damaged: put a"):
            restore(tmp_path)


@pytest.mark.parametrize("damage", DAMAGES[1:])
def test_a_damaged_best_checkpoint_is_named_and_left_in_place(damage, tmp_path):
    save(tmp_path, [5], best=[(5, 0.5)])
    damage(tmp_path / "best" / "5")
    before = content(tmp_path)
    with pytest.raises(UserError, match=r"checkpoint .*best/5 is damaged: .*Put a copy in its place"):
        best(tmp_path)
    assert content(tmp_path) == before


def test_training_moves_a_best_checkpoint_with_a_damaged_seal_aside(tmp_path, caplog):
    save(tmp_path, [5], best=[(5, 0.5)])
    empty_the_seal(tmp_path / "best" / "5")
    with caplog.at_level(logging.WARNING, logger="emi_jax"):
        save(tmp_path, [6], best=[(6, 0.1)])
    assert "best/5 is damaged: its seal.json cannot be parsed; the next evaluation counts as the best" in caplog.text
    assert best(tmp_path)["layer"]["kernel"][0, 0] == 6


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"optimizer": optax.sgd(0.1)}, r"it holds opt_state/0/count, which this run does not have"),
        ({"bias": 4}, r"average/layer/bias is float32 \[3\], in this run float32 \[4\]"),
        ({"optimizer": optax.chain(optax.adam(0.1), optax.trace(0.9))}, r"it lacks opt_state/0/0/count"),
    ],
    ids=["less state", "another shape", "more state"],
)
def test_resume_names_the_first_difference_to_another_model(changes, difference, tmp_path):
    save(tmp_path, [3, 9])
    before = content(tmp_path)
    with pytest.raises(UserError, match=rf"last/9 is of another model or optimiser: ({difference}).* It is intact"):
        restore(tmp_path, progress(0, **changes))
    assert content(tmp_path) == before
    assert restore(tmp_path).batches == 9


def out_of_memory(*arguments, **options):
    raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 16384 bytes.")


def stale_handle(*arguments, **options):
    raise OSError(errno.ESTALE, "Stale file handle")


def too_many_files(*arguments, **options):
    raise OSError(errno.EMFILE, "Too many open files")


def denied(*arguments, **options):
    raise ValueError("PERMISSION_DENIED: Error reading local file")  # TensorStore's


TROUBLES = itertools.product((out_of_memory, stale_handle, too_many_files), ("orbax", "hash", "seal"))


@pytest.mark.parametrize(("trouble", "place"), [*TROUBLES, (denied, "orbax")])
def test_a_read_error_is_not_damage(trouble, place, tmp_path, monkeypatch):
    save(tmp_path, [3, 9], best=[(9, 0.5)])
    before = content(tmp_path)
    opened = Checkpoints(tmp_path, 3)
    places = {
        "orbax": (ocp.StandardCheckpointHandler, "restore"),
        "hash": (seal, "_sha256"),
        "seal": (Path, "read_bytes"),
    }
    with monkeypatch.context() as patch:
        patch.setattr(*places[place], trouble)
        with pytest.raises(UserError, match=r"checkpoint .*last/9 could not be read: .*It was not changed"):
            opened.restore_last(progress(0))
        with pytest.raises(UserError, match=r"checkpoint .*best/9 could not be read: .*It was not changed"):
            best(tmp_path)
    assert content(tmp_path) == before
    assert opened.restore_last(progress(0)).batches == 9
    opened.close()


def test_a_seal_of_another_version_is_not_damage(tmp_path):
    save(tmp_path, [3])
    path = tmp_path / "last" / "3" / "arrays" / "seal.json"
    path.write_text(json.dumps({"sha256": "abc"}))
    with pytest.raises(UserError, match=r"seal.json was written by another version of emi-jax"):
        restore(tmp_path)
    assert path.exists()


def test_a_half_written_folder_is_not_a_checkpoint(tmp_path):
    save(tmp_path, [3])
    shutil.copytree(tmp_path / "last" / "3", tmp_path / "last" / "9.orbax-checkpoint-tmp")
    assert restore(tmp_path).batches == 3


def test_a_full_disk_is_reported_in_one_line_and_earlier_checkpoints_stay_intact(tmp_path, monkeypatch):
    save(tmp_path, [3])

    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(seal, "_sha256", full)
        with pytest.raises(UserError, match=r"could not be written to .*No space left on device.*to resume"):
            save(tmp_path, [9])
    assert restore(tmp_path).batches == 3


def test_saving_returns_before_hashing_and_saves_the_state_at_the_time_of_the_call(tmp_path, monkeypatch):
    released, sha256 = threading.Event(), seal._sha256

    def blocked(path):
        assert released.wait(timeout=60)
        return sha256(path)

    monkeypatch.setattr(seal, "_sha256", blocked)
    checkpoints, now = Checkpoints(tmp_path, 3), progress(4)
    checkpoints.save(now)
    checkpoints.save_best(4, now.state.evaluated_params, [0.5])  # although the latest checkpoint is not yet on disk
    step = jax.jit(lambda state: jax.tree.map(lambda leaf: leaf + 1, state), donate_argnums=0)
    jax.block_until_ready(step(now.state))  # the next step reuses the memory
    assert not (tmp_path / "last" / "4").exists()
    assert not (tmp_path / "best" / "4").exists()
    released.set()
    checkpoints.close()
    for one, other in zip(jax.tree.leaves(restore(tmp_path)), jax.tree.leaves(progress(4)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert best(tmp_path)["layer"]["kernel"][0, 0] == 4


def test_a_later_checkpoint_waits_for_the_best_one_of_an_earlier_step(tmp_path, monkeypatch):
    """A kill in between would lose the best checkpoint, since a resumed run does not evaluate earlier steps."""
    sha256 = seal._sha256
    monkeypatch.setattr(seal, "_sha256", lambda path: (time.sleep(0.1), sha256(path))[1])
    checkpoints = Checkpoints(tmp_path, 3)
    checkpoints.save_best(4, progress(4).state.evaluated_params, [0.5])
    checkpoints.save(progress(5))
    assert (tmp_path / "best" / "4").exists()
    checkpoints.close()


def test_the_best_checkpoint_can_be_read_from_a_read_only_folder(tmp_path, monkeypatch):
    save(tmp_path, [5], best=[(5, 0.5)])

    def refused(*arguments, **options):
        raise OSError(errno.EROFS, "Read-only file system")

    for name in ("mkdir", "touch", "rename", "replace", "unlink", "write_text", "write_bytes"):
        monkeypatch.setattr(Path, name, refused)
    assert best(tmp_path)["layer"]["kernel"][0, 0] == 5
