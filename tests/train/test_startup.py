"""The compilation cache belongs to the user, and is never one that others can write to."""

import logging
import os
import stat
from pathlib import Path

import jax
import pytest

from emi_jax.train.startup import start


@pytest.fixture(autouse=True)
def _restored():
    cache, shortest = jax.config.jax_compilation_cache_dir, jax.config.jax_persistent_cache_min_compile_time_secs
    log = logging.getLogger("emi_jax")
    before = log.handlers, log.propagate, log.level
    yield
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", shortest)
    log.handlers, log.propagate, log.level = before


def test_the_cache_is_private_and_in_the_users_cache_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    start()
    folder = tmp_path / "emi_jax" / "compiled"
    assert jax.config.jax_compilation_cache_dir == str(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize(("named", "expected"), [(None, 0.0), ("5", 7.0)])
def test_programs_that_compile_fast_are_cached_unless_the_user_says_otherwise(named, expected, monkeypatch):
    monkeypatch.delenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", raising=False)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 7.0)
    if named:
        monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", named)  # JAX has read it on import
    start()
    assert jax.config.jax_persistent_cache_min_compile_time_secs == expected


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777, 0o1777])
@pytest.mark.parametrize("place", ["cache", "parent"])
def test_a_cache_that_others_can_write_to_is_not_used(mode, place, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "shared" / "cache"
    folder.mkdir(mode=0o700, parents=True)
    (folder if place == "cache" else folder.parent).chmod(mode)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(folder))
    start()
    safe = mode == 0o1777 and place == "parent"  # the sticky bit, as on /tmp: users cannot rename files of others
    assert jax.config.jax_compilation_cache_dir == (str(folder) if safe else None)
    printed = capsys.readouterr().out
    assert (f"can be written by others (mode {mode:o})" in printed) != safe


def test_a_cache_of_another_owner_is_not_used(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path))
    owner = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    start()
    assert jax.config.jax_compilation_cache_dir is None
    assert f"{tmp_path} belongs to user {owner}; name a folder of your own" in capsys.readouterr().out


def test_a_cache_in_a_bucket_is_left_to_jax(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "gs://bucket/cache")
    jax.config.update("jax_compilation_cache_dir", "gs://bucket/cache")  # as JAX sets it from the environment on import
    start()
    assert jax.config.jax_compilation_cache_dir == "gs://bucket/cache"
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_a_place_for_a_cache_warns(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "file" / "cache"))
    start()
    assert "no compilation cache" in capsys.readouterr().out
    assert jax.config.jax_compilation_cache_dir is None


def test_a_user_without_a_home_folder_gets_a_warning(monkeypatch, capsys):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    for name in ("JAX_COMPILATION_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    start()
    assert "no compilation cache, every start compiles again: Could not determine" in capsys.readouterr().out
