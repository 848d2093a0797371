"""Converts the PyTorch weights of a Hugging Face folder to safetensors.

python -m data_prep.convert_weights SOURCE TARGET

For repositories that hold only pytorch_model.bin, in one file or in shards. It needs torch and safetensors and nothing
of this project, so that this file can be copied to a machine that has both. A file is opened with
`torch.load(weights_only=True)`, which runs no code of the file; what that refuses is not converted. Tensors keep their
names and dtypes; tensors that share memory are written once for each name. The config and the files of the tokenizer
and the preprocessor are copied. TARGET appears only when it is complete.
"""

import argparse
import json
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WEIGHTS, INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
COPIED = (".json", ".model", ".txt")
OLDEST_TORCH = (2, 6)
"""Before it, `weights_only=True` could be made to run code (CVE-2025-32434)."""


class ConversionError(Exception):
    """What is wrong with a folder, in a sentence for its user."""


def convert(source: Path, target: Path) -> int:
    """Writes a copy of a folder with safetensors in place of PyTorch's files; returns the number of tensors.

    Args:
        source: a Hugging Face folder.
        target: the new folder.

    Raises:
        ConversionError: there is nothing to convert, a file holds something else than tensors, or TARGET exists.
    """
    files = find_weights(source)
    if target.exists():
        raise ConversionError(f"{target}: exists already; name a new folder")
    part = target.with_name(target.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        count = _write(source, files, part)
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return count


def find_weights(source: Path) -> list[Path]:
    """The PyTorch files of a folder; ConversionError if there are none, or a shard is missing."""
    if not source.is_dir():
        raise ConversionError(
            f"{source}: no such folder; download it with: hf download ID --local-dir {source}, and convert it then"
        )
    if (source / WEIGHTS).is_file():
        return [source / WEIGHTS]
    if not (source / INDEX).is_file():
        found = "it holds safetensors already" if list(source.glob("*.safetensors")) else f"it holds no {WEIGHTS}"
        raise ConversionError(f"{source}: nothing to convert, {found}")
    try:
        names = sorted(set(json.loads((source / INDEX).read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConversionError(f"{source / INDEX}: lists no shards of weights; download it again") from error
    for name in names:
        if Path(name).name != name or not name.endswith(".bin"):
            raise ConversionError(f"{source / INDEX}: names {name!r}, expected a .bin file in the same folder")
        if not (source / name).is_file():
            raise ConversionError(f"{source / name}: no such file, but {INDEX} lists it; download it too")
    return [source / name for name in names]


def _write(source: Path, files: Sequence[Path], folder: Path) -> int:
    from safetensors.torch import save_file

    places: dict[str, str] = {}
    total = 0
    for file in files:
        tensors = read_tensors(file)
        if twice := places.keys() & tensors.keys():
            raise ConversionError(f"{file}: holds {min(twice)}, as {places[min(twice)]} does; download both again")
        name = file.name.removeprefix("pytorch_").replace(".bin", ".safetensors")
        path = folder / name
        path.touch()
        mode = path.stat().st_mode  # that of new files: the library's are their owner's alone
        save_file(tensors, path, metadata={"format": "pt"})
        path.chmod(mode)
        places.update(dict.fromkeys(tensors, name))
        total += sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if len(files) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    for path in source.iterdir():
        if path.is_file() and path.suffix in COPIED and path.name != INDEX:
            shutil.copyfile(path, folder / path.name)
    return len(places)


def read_tensors(file: Path) -> dict[str, Any]:
    """The tensors of a PyTorch file, each with memory of its own; ConversionError if it holds anything else."""
    import torch

    version = tuple(int(number) for number in re.findall(r"\d+", torch.__version__)[:2])
    if version < OLDEST_TORCH:
        raise ConversionError(f"torch {torch.__version__} can be made to run code of a file; install 2.6 or newer")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can make torch raise almost anything
        reason = re.search(r"WeightsUnpickler error: (.*)", str(error))
        what = reason[1] if reason else type(error).__name__
        raise ConversionError(
            f"{file}: refused by torch.load(weights_only=True), since it is damaged or holds more than tensors: {what}"
        ) from error
    if not isinstance(content, dict):
        raise ConversionError(f"{file}: holds a {type(content).__name__}, expected tensors by name")
    for name, value in content.items():
        if not isinstance(value, torch.Tensor) or value.layout != torch.strided:
            kind = value.layout if isinstance(value, torch.Tensor) else type(value).__name__
            raise ConversionError(f"{file}: {name!r} is a {kind}, expected a dense tensor; it is not a model's weights")
    return {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in content.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="Hugging Face folder with pytorch_model.bin")
    parser.add_argument("target", type=Path, help="folder that is created")
    options = parser.parse_args(arguments)
    try:
        count = convert(options.source, options.target)
    except ConversionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ImportError as error:
        print(f"error: {error.name} is not installed; run: pip install torch safetensors numpy", file=sys.stderr)
        return 2
    print(f"{options.target}: {count} tensors")
    return 0


if __name__ == "__main__":
    sys.exit(main())
