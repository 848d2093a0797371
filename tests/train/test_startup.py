"""The compilation cache is the user's own, and never one that others can fill."""

import logging
import stat

import jax
import pytest

from emi_jax.errors import UserError
from emi_jax.train.startup import start


@pytest.fixture(autouse=True)
def _restored():
    cache = jax.config.jax_compilation_cache_dir
    log = logging.getLogger("emi_jax")
    before = log.handlers, log.propagate, log.level
    yield
    jax.config.update("jax_compilation_cache_dir", cache)
    log.handlers, log.propagate, log.level = before


def test_the_cache_is_made_in_the_users_cache_folder_for_the_user_alone(tmp_path, monkeypatch):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    start()
    folder = tmp_path / "emi_jax" / "compiled"
    assert jax.config.jax_compilation_cache_dir == str(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
def test_a_cache_that_others_can_write_is_refused(mode, tmp_path, monkeypatch):
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(mode)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(folder))
    with pytest.raises(UserError, match=rf"shared can be written by others \(mode {mode:o}, .*chmod 700"):
        start()


def test_without_a_place_for_a_cache_a_run_says_so_and_goes_on(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "file" / "cache"))
    start()
    assert "no compilation cache" in capsys.readouterr().out
