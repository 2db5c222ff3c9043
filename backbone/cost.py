"""What a module costs: parameters, multiply-adds and memory of activations, from tracing the module itself.

The pass runs on meta tensors, which have shapes and no data: it takes milliseconds at any input size. Conventions are
the papers': the multiply-adds of convolutions and linear layers, nothing for normalisation, activation and bias.
Bytes are those of `dtype`; weights are not activations, and the input is the caller's.
"""

from __future__ import annotations

import weakref
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from backbone.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

aten = torch.ops.aten


@dataclass(slots=True, kw_only=True)
class LayerCost:
    """One layer, in the order in which layers first ran.

    Attributes:
        name: of the module that owns the weights, as in `named_modules`.
        parameters: its own, without those of its children.
        multiply_adds: of all its operations.
        output_shape: of its last operation; empty for a layer that did not run.
        input_bytes, output_bytes: activations read and written by its largest operation.
    """

    name: str
    parameters: int
    multiply_adds: int = 0
    output_shape: tuple[int, ...] = ()
    input_bytes: int = 0
    output_bytes: int = 0

    @property
    def activation_bytes(self) -> int:
        """Input and output together: what this layer needs to have in memory."""
        return self.input_bytes + self.output_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Cost of one pass.

    Attributes:
        parameters: trainable or not, each counted once; no buffers.
        peak_activation_bytes: the most that was alive at a time of what the pass made.
        layers: every module that has parameters of its own.
    """

    parameters: int
    multiply_adds: int
    peak_activation_bytes: int
    layers: list[LayerCost]

    @property
    def largest_layer(self) -> LayerCost:
        """The layer with the largest input and output together."""
        return max(self.layers, key=lambda layer: layer.activation_bytes)

    def part(self, prefix: str) -> tuple[int, int]:
        """Parameters and multiply-adds of `prefix` and everything below it."""
        layers = [layer for layer in self.layers if f"{layer.name}.".startswith(f"{prefix}.")]
        return sum(layer.parameters for layer in layers), sum(layer.multiply_adds for layer in layers)


def cost(module: nn.Module, input_shape: Sequence[int], *, dtype: torch.dtype = torch.float32) -> Cost:
    """Trace one pass of `module`, in evaluation, over an input of `input_shape` such as (1, 3, 224, 224).

    Neither the module's tensors nor its mode change. Convolutions that are called as functions count for the layer
    whose weights, or part of whose weights, they use.

    Args:
        dtype: of weights and activations; the papers count activations at 16 bit.
    Raises:
        InputError: the module cannot take this input, or computes something that depends on values.
    """
    state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    meta = {name: _on_meta(tensor, dtype) for name, tensor in state.items()}
    tracer = _Tracer(meta, {name: parameter.numel() for name, parameter in module.named_parameters()})
    with torch.no_grad(), _evaluating(module):
        images = torch.empty(tuple(input_shape), dtype=dtype, device="meta")
        try:
            with tracer:
                outputs = torch.func.functional_call(module, meta, (images,))
        except (RuntimeError, NotImplementedError, ValueError) as error:
            raise InputError(
                f"cost of {type(module).__name__} for an input of {tuple(input_shape)}: cannot be traced ({error}); "
                f"give a shape that it takes, and a module whose steps do not depend on values"
            ) from error
    del outputs
    layers = tracer.all_layers()
    return Cost(
        parameters=sum(layer.parameters for layer in layers),
        multiply_adds=sum(layer.multiply_adds for layer in layers),
        peak_activation_bytes=tracer.peak_bytes,
        layers=layers,
    )


def measured_peak_memory(function: Callable[[], object], device: str | torch.device = "cpu") -> int:
    """Bytes that a real call of `function` had at most in use on `device` beyond what was there before.

    Counts what torch's allocator gave out, working memory of its kernels included; libraries' own buffers are not seen.
    """
    device = torch.device(device)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        function()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    if device.type != "cpu":
        raise InputError(f"device={device}: memory is measured on cpu and cuda only")
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        function()
    assert profile.profiler is not None
    assert profile.profiler.kineto_results is not None
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    used = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        used += event.nbytes()
        peak = max(peak, used)
    return peak


class _Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operation: counts it for the layer whose weights it uses, and follows the life of what it makes.

    Args:
        state: parameters and buffers of the module by name, on the meta device.
        sizes: values in each parameter.
    """

    def __init__(self, state: dict[str, Tensor], sizes: dict[str, int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.layers: dict[str, LayerCost] = {}
        self.peak_bytes = self._live_bytes = 0
        self._lives: dict[int, weakref.ref[Any]] = {}
        self._owners = {_storage(tensor): name.rpartition(".")[0] for name, tensor in state.items()}
        self._parameters: dict[str, int] = {}
        for name, size in sizes.items():
            layer = name.rpartition(".")[0]
            self._parameters[layer] = self._parameters.get(layer, 0) + size

    def all_layers(self) -> list[LayerCost]:
        """Those that ran, in order, then those with parameters that did not."""
        idle = [LayerCost(name=n, parameters=size) for n, size in self._parameters.items() if n not in self.layers]
        return [*self.layers.values(), *idle]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        outputs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        weights = [tensor for tensor in inputs if _storage(tensor) in self._owners]
        derived = bool(weights) and len(weights) == len(inputs)
        for tensor in outputs:
            self._follow(tensor, inputs, self._owners[_storage(weights[0])] if derived else None)
        if not derived and outputs:
            activations = [tensor for tensor in inputs if _storage(tensor) not in self._owners]
            self._count(func, args, self._owners[_storage(weights[0])] if weights else "", activations, outputs[0])
        return result

    def _count(self, func: Any, args: Any, name: str, activations: list[Tensor], output: Tensor) -> None:
        multiply_adds = _multiply_adds(func, args, output)
        if not multiply_adds and name not in self._parameters:
            return
        layer = self.layers.setdefault(name, LayerCost(name=name, parameters=self._parameters.get(name, 0)))
        layer.multiply_adds += multiply_adds
        layer.output_shape = tuple(output.shape)
        read, written = sum(_bytes(tensor) for tensor in activations), _bytes(output)
        if read + written > layer.activation_bytes:
            layer.input_bytes, layer.output_bytes = read, written

    def _follow(self, tensor: Tensor, inputs: list[Tensor], owner: str | None) -> None:
        """Count a new tensor's memory until it is gone. What is made of weights alone belongs to their layer."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._owners or key in self._lives or any(key == _storage(other) for other in inputs):
            return
        size = storage.nbytes()

        def forget(_: object) -> None:
            del self._lives[key]
            self._owners.pop(key, None)
            self._live_bytes -= size

        self._lives[key] = weakref.ref(storage, forget)
        if owner is not None:
            self._owners[key] = owner
        self._live_bytes += size
        self.peak_bytes = max(self.peak_bytes, self._live_bytes)


def _multiply_adds(func: Any, args: Any, output: Tensor) -> int:
    """Multiply-adds of one operation; 0 for all but convolutions and matrix products."""
    match func:
        case aten.convolution.default:
            weight: Tensor = args[1]
            filtered: Tensor = args[0] if args[6] else output  # a transposed one runs its filter at every input cell
            return filtered.numel() * weight[0].numel()
        case aten.mm.default | aten.bmm.default:
            return output.numel() * int(args[0].shape[-1])
        case aten.addmm.default | aten.baddbmm.default:
            return output.numel() * int(args[1].shape[-1])
    return 0


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _on_meta(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.empty_like(tensor, device="meta", dtype=dtype if tensor.is_floating_point() else None)


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    training = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, was in training.items():
            part.training = was
