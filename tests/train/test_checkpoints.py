"""Checkpoints: what comes back, what is kept, and what damage and full disks are answered with."""

import errno
import logging
import shutil

import jax
import numpy as np
import optax
import pytest

from emi_jax.errors import UserError
from emi_jax.train import seal
from emi_jax.train.checkpoints import Checkpoints, Progress
from emi_jax.train.mapping import Mapping
from emi_jax.train.step import create_state


def progress(step: int) -> Progress:
    """A state of which every leaf tells the step, on two devices."""
    params = {"layer": {"kernel": np.full((64, 64), step, np.float32), "bias": np.arange(3, dtype=np.float32) + step}}
    state = create_state(params, {"frozen": np.zeros(2)}, optax.adam(0.1), 0.9)
    state = state.replace(step=np.int32(step))
    state, rng = Mapping("shard_map", jax.devices()[:2]).replicate((state, jax.random.PRNGKey(step)))
    return Progress(state, rng, step)


def saved(folder, steps, keep=3):
    checkpoints = Checkpoints(folder, keep)
    for step in steps:
        checkpoints.save(progress(step))
    checkpoints.close()


def restored(folder):
    checkpoints = Checkpoints(folder, 3)
    try:
        return checkpoints.restore_last(progress(0))
    finally:
        checkpoints.close()


def largest_file(folder):
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def test_state_rng_and_position_come_back_bit_for_bit(tmp_path):
    saved(tmp_path, [7])
    found, expected = restored(tmp_path), progress(7)
    assert found.batches == 7
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(one, other)
        assert np.asarray(one).dtype == np.asarray(other).dtype
    assert found.state.params["layer"]["kernel"].sharding.is_fully_replicated
    assert len(found.state.params["layer"]["kernel"].sharding.device_set) == 2


def test_the_last_ones_stay_and_the_best_one_beside_them(tmp_path):
    checkpoints = Checkpoints(tmp_path, 2)
    for step, goal in ((1, 0.1), (2, 0.5), (3, 0.4), (4, 0.5)):
        checkpoints.save_best(progress(step), goal)
        checkpoints.save(progress(step))
    checkpoints.close()
    assert sorted(path.name for path in (tmp_path / "last").iterdir()) == ["3", "4"]
    again = Checkpoints(tmp_path, 2)
    assert int(again.restore_best(progress(0)).step) == 2
    again.save_best(progress(5), 0.45)
    assert int(again.restore_best(progress(0)).step) == 2
    again.close()


def exchange_arrays(step_folder):
    """Arrays that can be read and are not those that were saved: the hash alone tells."""
    shutil.rmtree(step_folder / "state")
    shutil.copytree(step_folder.parent / "3" / "state", step_folder / "state")


def flip_bytes(step_folder):
    path = largest_file(step_folder / "state")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def cut_off(step_folder):
    path = largest_file(step_folder / "state")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def lose_arrays(step_folder):
    shutil.rmtree(step_folder / "state")


def lose_the_seal(step_folder):
    shutil.rmtree(step_folder / "seal")


@pytest.mark.parametrize("damage", [exchange_arrays, flip_bytes, cut_off, lose_arrays, lose_the_seal])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_taken(damage, tmp_path, caplog):
    saved(tmp_path, [3, 9])
    damage(tmp_path / "last" / "9")
    with caplog.at_level(logging.WARNING, logger="emi_jax"):
        assert restored(tmp_path).batches == 3
    assert f"checkpoint {tmp_path / 'last' / '9'}" in caplog.text
    saved(tmp_path, [9])  # the way is free for the same step
    assert restored(tmp_path).batches == 9


def test_only_damaged_checkpoints_are_an_error_now_and_the_next_time(tmp_path):
    saved(tmp_path, [3])
    cut_off(tmp_path / "last" / "3")
    for _ in range(2):
        with pytest.raises(UserError, match=r"no checkpoint in .* is whole; delete the workdir to start anew"):
            restored(tmp_path)


def test_a_damaged_best_checkpoint_is_named(tmp_path):
    checkpoints = Checkpoints(tmp_path, 2)
    checkpoints.save_best(progress(5), 0.5)
    checkpoints.close()
    flip_bytes(tmp_path / "best" / "5")
    with pytest.raises(UserError, match=r"checkpoint .*best/5 .*put a copy in its place"):
        Checkpoints(tmp_path, 2).restore_best(progress(0))


def test_a_half_written_folder_is_not_a_checkpoint(tmp_path):
    saved(tmp_path, [3])
    shutil.copytree(tmp_path / "last" / "3", tmp_path / "last" / "9.orbax-checkpoint-tmp")
    assert restored(tmp_path).batches == 3


def test_a_full_disk_is_one_line_and_the_checkpoints_before_it_are_whole(tmp_path, monkeypatch):
    saved(tmp_path, [3])

    def full(tree):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(seal, "content_hash", full)
        with pytest.raises(
            UserError, match=r"could not be written to .*No space left on device.*the same command goes on"
        ):
            saved(tmp_path, [9])
    assert restored(tmp_path).batches == 3
