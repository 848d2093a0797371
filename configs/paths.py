"""Folders that a config or the command line names: on this machine, with `~` expanded."""

from ml_collections import ConfigDict

from emi_jax import files
from emi_jax.errors import UserError


def expand_paths(config: ConfigDict, workdir: str | None) -> None:
    """Expands `~` in the folders of a config.

    Args:
        config: of a run.
        workdir: replaces the config's own; None keeps that.

    Raises:
        UserError: a folder is a URL, or in a home folder that does not exist.
    """
    config.root = local_path(config.root, "config.root")  # first: others follow it
    if workdir:
        config.workdir = workdir
    for section, field in ((config, "workdir"), (config, "init_from"), (config.data, "dir")):
        section[field] = local_path(section[field], f"config.{field}")
    config.features.dir = local_path(config.features.dir, "config.features.dir")
    if "grid" in config:
        config.grid.folder = local_path(config.grid.folder, "config.grid.folder")


def local_path(path: str, name: str) -> str:
    """A path with `~` expanded.

    Raises:
        UserError: it is a URL, or there is no such home folder.
    """
    try:
        return files.local_path(path)
    except UserError as error:
        raise UserError(f"{name}={path}: {error}") from None
