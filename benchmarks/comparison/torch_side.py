"""The PyTorch side of each case: eager or `torch.compile`, autocast for bfloat16, fused AdamW; TF32 on GPUs."""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.comparison import batches, theirs
from benchmarks.comparison.cases import CLIP, DECAY, RATE, STEPS, WARMUP, Case
from benchmarks.comparison.shapes import ENCODERS, PAIR_WEIGHTS
from benchmarks.comparison.twin.decoder import Attention
from benchmarks.comparison.twin.flops import operations
from benchmarks.comparison.twin.fusion import TCN, GatedBiLSTM
from benchmarks.comparison.twin.losses import info_nce
from benchmarks.comparison.twin.optimizer import adamw, make_step, schedule
from benchmarks.comparison.twin.stages import Intensity
from benchmarks.comparison.twin.towers import round_kernels
from benchmarks.comparison.work import Work


def prepare(case: Case, dtype: str, *, mode: str | None = None, device: str = "cpu") -> Work:
    """Builds a case.

    Args:
        case: the case to build.
        dtype: `float32`, or `bfloat16` for autocast.
        mode: that of `torch.compile`, or None for eager execution.
        device: `cpu` or `cuda`.
    """
    torch.manual_seed(0)
    if device == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32, as JAX multiplies on GPUs by default
    builders = {
        "stage1": _stage1,
        "stage2": _stage2,
        "cached": _stage2,
        "fed": _stage1,
        "predict": _predict,
        "bilstm": _bilstm,
        "tcn": _tcn,
        "attention": _attention,
        "contrastive": _contrastive,
        "input": _input,
    }
    return builders[case.kind](case, _Settings(dtype, mode, torch.device(device)))


class _Settings:
    """Device, dtype and compilation of a run."""

    def __init__(self, dtype: str, mode: str | None, device: torch.device):
        self.dtype, self.mode, self.device = dtype, mode, device

    def autocast(self) -> contextlib.AbstractContextManager:
        """Autocast to bfloat16 if that is the dtype."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype == "bfloat16")

    def wrap(self, function: Callable) -> Callable:
        """Compiles a function if the settings say so, and runs it under autocast."""
        inner = torch.compile(function, mode=self.mode) if self.mode else function

        def run(*arguments: Any) -> Any:
            if self.mode == "max-autotune":  # replays CUDA graphs, which reuse the memory of the previous step
                torch.compiler.cudagraph_mark_step_begin()
            with self.autocast():
                return inner(*arguments)

        return run

    def put(self, batch: Any) -> Any:
        """Copies NumPy arrays, or a tree of them, to the device."""
        if isinstance(batch, dict):
            return {name: self.put(array) for name, array in batch.items()}
        tensor = batch if isinstance(batch, Tensor) else torch.from_numpy(np.asarray(batch))
        return tensor.to(self.device, non_blocking=True)

    def wait(self) -> None:
        """Blocks until the device has finished."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def _stage1(case: Case, settings: _Settings) -> Work:
    encoders = ENCODERS[case.preset]
    if case.kind == "fed":
        from benchmarks.comparison.demo_data import torch_loader

        source, encoders = torch_loader(case, encoders)
    else:
        source = _clips(case)
    model = theirs.alignment(encoders, case.sizes, PAIR_WEIGHTS[case.preset])
    return _training(model, source, case.sizes.batch, settings)


def _stage2(case: Case, settings: _Settings) -> Work:
    source = _clips(case) if case.kind == "stage2" else _features(case)
    return _training(_intensity(case, settings), source, case.sizes.batch, settings)


def _intensity(case: Case, settings: _Settings) -> Intensity:
    model = theirs.intensity(ENCODERS[case.preset], case.sizes)
    if settings.dtype == "bfloat16":
        round_kernels(model.towers, torch.bfloat16)
    return model


def _training(model: nn.Module, source: Iterable[Any], clips: int, settings: _Settings) -> Work:
    model = model.to(settings.device).train()
    optimizer = adamw(model, DECAY)
    rate = schedule(RATE, 0.0, WARMUP, STEPS)
    take, eager = (make_step(call, optimizer, rate, CLIP) for call in (settings.wrap(model), _eager(model, settings)))
    source = iter(source)

    def step(batch: Any) -> Any:
        loss = take(batch)
        settings.wait()
        return loss

    return Work(
        lambda: settings.put(next(source)),
        step,
        clips,
        lambda: operations(lambda: eager(settings.put(next(source)))),
    )


def _predict(case: Case, settings: _Settings) -> Work:
    model = _intensity(case, settings).to(settings.device).eval()
    source, forward, eager = _clips(case), settings.wrap(model.predict), _eager(model.predict, settings)

    @torch.inference_mode()
    def step(batch: Any) -> Any:
        predictions = forward(batch)
        settings.wait()
        return predictions

    def once() -> Any:  # with gradients enabled, since the counter's hooks fail without them
        return eager(settings.put(next(_clips(case))))

    return Work(lambda: settings.put(next(source)), step, 1, lambda: operations(once))


def _eager(function: Callable, settings: _Settings) -> Callable:
    def run(*arguments: Any) -> Any:
        with settings.autocast():
            return function(*arguments)

    return run


def _gradients(
    loss: Callable, parameters: list[Tensor], inputs: tuple[Any, ...], clips: int, settings: _Settings
) -> Work:
    """The gradients of a scalar with respect to parameters and first input."""
    inputs = tuple(settings.put(x) for x in inputs)
    wanted = [*parameters, inputs[0].requires_grad_()]
    take, eager = settings.wrap(loss), _eager(loss, settings)

    def step(batch: Any) -> Any:
        gradients = torch.autograd.grad(take(*batch), wanted)
        settings.wait()
        return gradients

    # Counted with `backward`, since the counter's hooks do not work with `autograd.grad`.
    return Work(lambda: inputs, step, clips, lambda: operations(lambda: eager(*inputs).backward()))


def _part(module: nn.Module, case: Case, settings: _Settings) -> Work:
    x, mask, gradient = batches.sequences(np.random.default_rng(0), case.sizes, case.length)
    module = module.to(settings.device).train()

    def loss(x: Tensor, mask: Tensor, gradient: Tensor) -> Tensor:
        return (module(x, mask) * gradient).sum()

    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return _gradients(loss, parameters, (x, mask, gradient), case.sizes.batch, settings)


def _bilstm(case: Case, settings: _Settings) -> Work:
    return _part(GatedBiLSTM(case.sizes.width, case.sizes.width), case, settings)


def _tcn(case: Case, settings: _Settings) -> Work:
    return _part(TCN(case.sizes.width), case, settings)


def _attention(case: Case, settings: _Settings) -> Work:
    x, _, gradient = batches.sequences(np.random.default_rng(0), case.sizes, case.length)
    module = Attention(case.sizes.width, case.sizes.num_heads).to(settings.device)

    def loss(x: Tensor, gradient: Tensor) -> Tensor:
        return (module(x, x) * gradient).sum()

    return _gradients(loss, list(module.parameters()), (x, gradient), case.sizes.batch, settings)


def _contrastive(case: Case, settings: _Settings) -> Work:
    left, right, transcript, valid = batches.embeddings(np.random.default_rng(0), case.length, case.sizes.width)
    other = settings.put(right).requires_grad_()

    def loss(left: Tensor, transcript: Tensor, valid: Tensor) -> Tensor:
        return info_nce(left, other, transcript, valid, scale)

    scale = torch.tensor(20.0, device=settings.device)
    return _gradients(loss, [other], (left, transcript, valid), case.length, settings)


def _input(case: Case, settings: _Settings) -> Work:
    from benchmarks.comparison.demo_data import torch_loader

    source, _ = torch_loader(case, ENCODERS[case.preset])
    return Work(lambda: settings.put(next(source)), lambda batch: batch, case.sizes.batch, lambda: 0.0)


def _clips(case: Case) -> Iterator[Any]:
    rng, encoders = np.random.default_rng(0), ENCODERS[case.preset]
    return itertools.cycle([batches.clips(rng, case.sizes, encoders) for _ in range(2)])


def _features(case: Case) -> Iterator[Any]:
    rng, encoders = np.random.default_rng(0), ENCODERS[case.preset]
    return itertools.cycle([batches.features(rng, case.sizes, encoders) for _ in range(4)])
