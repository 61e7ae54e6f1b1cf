"""Flat graphs: a function with ``torch.autograd.grad`` inside becomes a short list of ATen calls.

Small molecules are overhead-bound: what a step costs is the number of operators it calls. The trace of energy and
forces therefore has everything removed from it that does not depend on the positions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from densnet_core.errors import InputError

aten = torch.ops.aten

# Their values depend on the shape of the argument only, and shapes are fixed in a trace.
_FILLED: Final = {
    aten.zeros_like.default,
    aten.ones_like.default,
    aten.full_like.default,
    aten.new_zeros.default,
    aten.new_ones.default,
    aten.new_full.default,
    aten.fill.Scalar,
}
_EMPTY: Final = {aten.empty_like.default, aten.new_empty.default, aten.new_empty_strided.default}
# Without autograd and without mutation these return their argument.
_IDENTITIES: Final = {aten.detach.default, aten.alias.default, aten.lift_fresh.default}
_DEVICE_FREE: Final = {aten._to_copy.default}
# openmm-torch freezes the module it is given, and TorchScript's shape analysis of a frozen graph takes a product of a
# matrix of known and one of unknown shape to have the shape of the first (torch 2.9), then refuses the graph. It knows
# nothing of the shapes of these, which compute the same: beta = 0 leaves the added matrix out.
_PRODUCTS: Final = {aten.mm.default: aten.addmm.default, aten.bmm.default: aten.baddbmm.default}
_RESHAPED: Final = {aten.view.default, aten._unsafe_view.default, aten.expand.default}


def flatten(function: Callable[..., tuple[Tensor, ...]], *example: Tensor) -> fx.GraphModule:
    """Trace ``function`` at ``example`` into a graph of ATen operators without autograd or mutation.

    Shapes are those of ``example`` for ever. Control flow that depends on positions is frozen as it was at the
    example, so compare the result with ``function`` elsewhere. Parameters and constants become buffers.

    Parameters
    ----------
    function : callable
        From tensors to a tuple of tensors; may call ``torch.autograd.grad``. Integers are indices, none negative.
    example : Tensor
        Arguments for which the function gives finite values.

    Raises
    ------
    InputError
        If the graph draws random numbers (dropout left in training mode), or Python reads a value of a tensor.
    """

    def plain(*arguments: Tensor) -> tuple[Tensor, ...]:  # make_fx miscounts the arguments of a bound method
        return function(*arguments)

    try:
        traced = make_fx(plain)(*example)
    except RuntimeError as error:
        if "data-dependent" not in str(error):
            raise
        raise InputError(f"The potential takes a decision that depends on positions: {error}") from error
    pure = make_fx(torch.func.functionalize(traced, remove="mutations"))(*example)
    _refuse_random(pure)
    return _fuse_silu_backward(_Folder(pure, example).run())


def n_operators(graph: fx.GraphModule) -> int:
    """Number of operator calls in a flat graph."""
    return sum(node.op == "call_function" for node in graph.graph.nodes)


def _refuse_random(graph: fx.GraphModule) -> None:
    for node in graph.graph.nodes:
        tags = getattr(node.target, "tags", ())
        if torch.Tag.nondeterministic_seeded in tags:
            raise InputError(f"The potential draws random numbers ({node.target}); put the network in eval mode.")


class _Folder:
    """Copies a pure graph: evaluates what is constant, joins what is computed twice, picks the cheaper operator."""

    def __init__(self, source: fx.GraphModule, example: Sequence[Tensor]) -> None:
        self.source = source
        self.values = _node_values(source, example)
        self.root = torch.nn.Module()
        self.graph = fx.Graph()
        self.nodes: dict[fx.Node, Any] = {}  # a Node of the new graph, or the value of a constant
        self.buffers: dict[tuple[Any, ...], fx.Node] = {}
        self.calls: dict[str, fx.Node] = {}
        self.nothing: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    def run(self) -> fx.GraphModule:
        for node in self.source.graph.nodes:
            if node.op == "placeholder":
                self.nodes[node] = self.graph.placeholder(node.name)
            elif node.op == "get_attr":
                self.nodes[node] = self.values[node]
            elif node.op == "output":
                self.graph.output(self._lifted(node.args[0]))
            else:
                self.nodes[node] = self._call(node)
        self.graph.eliminate_dead_code()
        self.graph.lint()  # type: ignore[no-untyped-call]
        return fx.GraphModule(self.root, self.graph)

    def _call(self, node: fx.Node) -> Any:
        if node.target in _IDENTITIES:
            return self.nodes[node.args[0]]  # type: ignore[index]
        if node.target in _EMPTY:
            return torch.zeros_like(self.values[node])
        constant = not any(isinstance(self.nodes[argument], fx.Node) for argument in node.all_input_nodes)
        if node.target in _FILLED or constant:
            return self.values[node]
        if node.target in _RESHAPED and self._shape(node) == self._shape(node.args[0]):
            return self.nodes[node.args[0]]  # type: ignore[index]
        kwargs = dict(node.kwargs)
        if node.target in _DEVICE_FREE:  # the file then follows its buffers to any device
            kwargs = {key: value for key, value in kwargs.items() if key not in ("device", "layout", "pin_memory")}
        target, positional = self._cheaper(node)
        if target in _PRODUCTS:
            nothing = self._buffer(self._nothing(self.values[node]))
            target, positional, kwargs = _PRODUCTS[target], (nothing, *positional), {**kwargs, "beta": 0}
        elif target is aten.addmm.default and not kwargs:  # whose shape it takes to be that of what is added
            nothing = self._buffer(self._nothing(self.values[node]))
            product = self._once(target, (nothing, *positional[1:]), {"beta": 0})
            target, positional = aten.add.Tensor, (product, positional[0])
        if target is aten.index_add.default and self._shape(positional[0])[positional[1]] == 1:
            # Inductor fuses a sum into an axis of one element with the loop that reads it (torch 2.9), too early
            total = self._once(aten.sum.dim_IntList, (positional[3], [positional[1]], True), {})
            target, positional = aten.add.Tensor, (positional[0], total)
        return self._once(target, positional, kwargs)

    def _once(self, target: Any, positional: tuple[Any, ...], kwargs: dict[str, Any]) -> fx.Node:
        """The call, made before or new."""
        arguments, keywords = self._lifted(positional), self._lifted(kwargs)
        key = f"{target} {arguments!r} {keywords!r}"
        if key not in self.calls:
            self.calls[key] = self.graph.call_function(target, arguments, keywords)
        return self.calls[key]

    def _nothing(self, like: Tensor) -> Tensor:
        return self.nothing.setdefault((like.dtype, like.device), like.new_zeros(1))

    def _shape(self, node: Any) -> list[int]:
        return list(self.values[node].shape)

    def _cheaper(self, node: fx.Node) -> tuple[Any, tuple[Any, ...]]:
        """Explicit shapes; indexing with one list of integers as index_select and index_add: up to thrice as fast."""
        arguments: tuple[Any, ...] = node.args
        if node.target in _RESHAPED:
            return node.target, (arguments[0], self._shape(node), *arguments[2:])
        if node.target not in (aten.index.Tensor, aten.index_put.default):
            return node.target, arguments
        operand, indices = arguments[:2]
        axes = [axis for axis, index in enumerate(indices) if index is not None]
        index = indices[axes[0]]
        where = self.values[index]
        is_list = where.ndim == 1 and where.dtype == torch.int64 and not isinstance(self.nodes[index], fx.Node)
        if len(axes) > 1 or not is_list or bool((where < 0).any()):
            return node.target, arguments
        if node.target is aten.index.Tensor:
            return aten.index_select.default, (operand, axes[0], index)
        gathered = list(self.values[operand].shape)
        gathered[axes[0]] = len(where)
        if arguments[3:] == (True,) and list(self.values[arguments[2]].shape) == gathered:
            return aten.index_add.default, (operand, axes[0], index, arguments[2])
        return node.target, arguments

    def _lifted(self, arguments: Any) -> Any:
        def lift(node: fx.Node) -> Any:
            value = self.nodes.get(node, node)  # a node of the new graph stays
            return self._buffer(value) if isinstance(value, Tensor) else value

        return fx.node.map_arg(arguments, lift)

    def _buffer(self, value: Tensor) -> fx.Node:
        same = (value.data_ptr(), value.dtype, tuple(value.shape), value.stride())
        if same not in self.buffers:
            name = f"constant_{len(self.buffers)}"
            self.root.register_buffer(name, value.detach())
            self.buffers[same] = self.graph.get_attr(name)
        return self.buffers[same]


def _node_values(source: fx.GraphModule, example: Sequence[Tensor]) -> dict[fx.Node, Any]:
    """What every node gives at the example (kept alive, so that storage addresses stay distinct)."""
    values: dict[fx.Node, Any] = {}

    class Recorder(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            values[n] = value.detach() if isinstance(value, Tensor) else value
            return values[n]

    with torch.no_grad():
        Recorder(source, garbage_collect_values=False).run(*example)
    return values


def _fuse_silu_backward(module: fx.GraphModule) -> fx.GraphModule:
    """Make ``g * s * (1 + x * (1 - s))`` with ``s = sigmoid(x)`` one call again; make_fx had taken it apart."""
    for node in list(module.graph.nodes):
        if node.target is not aten.mul.Tensor:
            continue
        for gradient, factor in (node.args, node.args[::-1]):
            argument = _silu_derivative_of(module, factor)
            if argument is not None:
                with module.graph.inserting_before(node):
                    fused = module.graph.call_function(aten.silu_backward.default, (gradient, argument))
                node.replace_all_uses_with(fused)
                module.graph.erase_node(node)
                break
    module.graph.eliminate_dead_code()
    module.graph.lint()  # type: ignore[no-untyped-call]
    module.delete_all_unused_submodules()
    module.recompile()
    return module


def _silu_derivative_of(module: fx.GraphModule, node: Any) -> fx.Node | None:
    """x if ``node`` is sigmoid(x) * (1 + x * (1 - sigmoid(x))), else None."""
    sigmoid, bracket = _operands(node, aten.mul.Tensor)
    if bracket is None or getattr(sigmoid, "target", None) is not aten.sigmoid.default:
        return None
    product, one = _operands(bracket, aten.add.Scalar)
    argument, complement = _operands(product, aten.mul.Tensor)
    ones, subtracted = _operands(complement, aten.sub.Tensor)
    if one != 1 or subtracted is not sigmoid or argument is not sigmoid.args[0] or not isinstance(ones, fx.Node):
        return None
    is_one = ones.op == "get_attr" and bool((module.get_buffer(str(ones.target)) == 1).all())
    return argument if is_one else None


def _operands(node: Any, target: Any) -> tuple[Any, Any]:
    if isinstance(node, fx.Node) and node.target is target and len(node.args) == 2 and not node.kwargs:
        return node.args[0], node.args[1]
    return None, None
