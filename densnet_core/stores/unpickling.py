"""Object arrays of NPY files, which are pickles, read without Python's ``pickle``: nothing in them is ever called.

A pickle is a program for a small stack machine that may import and call anything. Restricting ``Unpickler.find_class``
to NumPy's own functions is not enough: what they make is then filled by ``dtype.__setstate__`` and
``ndarray.__setstate__``, which believe the flags in the file, and an array of objects that claims to be one of numbers
turns bytes of the file into pointers. This is that machine without imports and calls. The few names that NumPy writes
become tokens; an array is made here, of a type from a list and as many bytes as the file really has. Every other name
or operation is refused. The file stays on the disk: arrays are views of it, so a file larger than memory can be read.

Format: ``pickletools`` in Python's library; NumPy Enhancement Proposal 1 for NPY.
"""

from __future__ import annotations

import mmap
import pickletools
import re
import struct
import tokenize
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from densnet_core.errors import DataError

MAX_STACK: Final = 100_000
"""Values that wait to be put into a container. Pickles of containers put at most 1000 at a time and nest little."""
MAX_VALUES: Final = 50_000_000
"""Of one file: 30 000 frames of 50 atoms. What is not a view of the file takes 60 to 100 bytes each."""
PLAIN_TYPES: Final = re.compile(r"f[248]|[iu][1248]|b1|[SU][1-9]\d{0,3}")
OBJECT_TYPES: Final = ("O", "O4", "O8")


class _Name(Enum):
    """What a file may name."""

    RECONSTRUCT = "an empty array, filled afterwards"
    FROM_BUFFER = "an array over bytes"
    SCALAR = "a single number"
    ARRAY = "the type of arrays"
    DTYPE = "the type of types"


_ADMITTED: Final = {
    ("numpy", "ndarray"): _Name.ARRAY,
    ("numpy", "dtype"): _Name.DTYPE,
    **{
        (f"numpy.{core}.{module}", name): token  # NumPy 2 writes _core, older ones core
        for core in ("_core", "core")
        for module, name, token in (
            ("multiarray", "_reconstruct", _Name.RECONSTRUCT),
            ("multiarray", "scalar", _Name.SCALAR),
            ("numeric", "_frombuffer", _Name.FROM_BUFFER),
        )
    },
}


@dataclass(eq=False)
class _Type:
    """The type of an array as the file gives it: first its code, then, by BUILD, the order of its bytes."""

    code: str
    order: str = "="

    @property
    def numpy(self) -> np.dtype[Any]:
        return np.dtype(self.order + self.code)


@dataclass(eq=False)
class _Unfilled:
    """An array before its BUILD, and under which numbers the memo has it."""

    places: list[int] = field(default_factory=list)


def read_object_array(path: str | Path) -> NDArray[np.object_]:
    """The object array in an NPY file.

    Parameters
    ----------
    path : path
        As ``numpy.save`` writes an array of Python objects.

    Returns
    -------
    array of object
        Its elements are None, bool, int, float, str, bytes (as ``memoryview``), lists, tuples, dictionaries and NumPy
        arrays of these or of numbers. Arrays of numbers are read-only views of the file.

    Raises
    ------
    DataError
        If the file cannot be read, is damaged, or holds anything else; the message names what was found.
    """
    source = Path(path)
    try:
        with source.open("rb") as file:
            major, minor = np.lib.format.read_magic(file)
            if (major, minor) not in ((1, 0), (2, 0)):
                raise DataError(f"{source} is of NPY format {major}.{minor}; expected 1.0 or 2.0.")
            reader = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
            shape, _, dtype = reader(file)
            start = file.tell()
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error.strerror or error}.") from error
    except (ValueError, TypeError, SyntaxError, KeyError, RecursionError, MemoryError, tokenize.TokenError) as error:
        raise DataError(f"{source} is no NPY file ({_short(str(error))}).") from error
    if dtype != np.dtype(object):
        raise DataError(f"{source} holds an array of {dtype}; expected an array of Python objects.")
    machine = _Machine(source, data, start)
    found = machine.run()
    if not isinstance(found, np.ndarray) or found.dtype != object or found.shape != shape:
        what = f"an array of {found.dtype} of shape {found.shape}" if isinstance(found, np.ndarray) else describe(found)
        raise DataError(f"{source}: the header announces an array of objects of shape {shape}, {what} follows.")
    return found


def describe(value: Any) -> str:
    """What a value of a file is, in words that stay short whatever it holds."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} of shape {value.shape}"
    if isinstance(value, (list, tuple, dict)):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, (str, int, float)) or value is None:
        return _short(repr(value))
    return f"a value of type {type(value).__name__.strip('_').lower()}"


def _short(text: str) -> str:
    return text if len(text) <= 120 else text[:120] + " ..."


class _Machine:
    """The stack machine of a pickle, over the bytes of a file from ``at`` on."""

    def __init__(self, source: Path, data: memoryview, at: int) -> None:
        self.source, self.data, self.at = source, data, at
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.left = MAX_VALUES
        self.stopped, self.result = False, None

    def run(self) -> Any:
        """Carry out all operations; the value that is left."""
        while not self.stopped:
            start = self.at
            code = self.take(1)[0]
            operation = _OPERATIONS.get(code)
            if operation is None:
                name = _NAMES.get(code)
                what = f"the operation {name} of a pickle" if name else f"the byte {code:#04x}"
                raise self.wrong(f"{what} at byte {start}; data sets have no use for it")
            try:
                operation(self)
            except (ValueError, TypeError, IndexError, KeyError, OverflowError, MemoryError, struct.error) as error:
                raise self.wrong(
                    f"{_NAMES[code]} at byte {start} that cannot be carried out ({_short(str(error))})"
                ) from error
            if len(self.stack) + len(self.marks) > MAX_STACK:
                raise self.wrong(f"more than {MAX_STACK} values that nothing has taken up at byte {start}")
        if self.stack or self.at != len(self.data):
            raise self.wrong(f"{len(self.data) - self.at} bytes behind the end of the array")
        return self.result

    def wrong(self, found: str) -> DataError:
        return DataError(
            f"{self.source} was not read, nothing in it was carried out: found {found}. Only NumPy arrays, numbers, "
            "texts, lists, tuples and dictionaries are admitted, in pickle protocols 3 to 5. If the file is said "
            "to be a data set, do not load it by other means before you know why it holds this."
        )

    def take(self, count: int) -> memoryview:
        """The next bytes; ``DataError`` if the file has fewer."""
        if count > len(self.data) - self.at:
            raise self.wrong(f"{count} bytes announced at byte {self.at}, {len(self.data) - self.at} left (cut off?)")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def push(self, value: Any) -> None:
        self.count()
        self.stack.append(value)

    def count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise self.wrong(f"more than {MAX_VALUES} values")

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise IndexError("the stack is empty")
        return self.stack.pop()

    def top(self) -> Any:
        self.stack.append(value := self.pop())
        return value

    def pop_to_mark(self) -> list[Any]:
        mark = self.marks.pop()
        values = self.stack[mark:]
        del self.stack[mark:]
        return values

    # Operations

    def proto(self) -> None:
        version = self.number(1)
        if version not in (3, 4, 5):
            raise self.wrong(f"pickle protocol {version}")

    def stop(self) -> None:
        self.result = self.pop()
        self.stopped = True

    def tuple_of(self, count: int) -> None:
        self.push(tuple([self.pop() for _ in range(count)][::-1]))

    def text(self, size: int) -> None:
        self.push(str(self.take(self.number(size)), "utf-8"))

    def long(self) -> None:
        if (size := self.number(1)) > 8:
            raise self.wrong(f"a whole number of {size} bytes")
        self.push(int.from_bytes(self.take(size), "little", signed=True))

    def append(self, values: list[Any]) -> None:
        target = self.top()
        if type(target) is not list:
            raise self.wrong(f"elements for {describe(target)}, which is not a list")
        target += values

    def set_items(self, values: list[Any]) -> None:
        target = self.top()
        if type(target) is not dict:
            raise self.wrong(f"entries for {describe(target)}, which is not a dictionary")
        if len(values) % 2:
            raise self.wrong(f"the key {describe(values[-1])} of a dictionary without its value")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not isinstance(key, (str, int)):
                raise self.wrong(f"{describe(key)} as the key of a dictionary")
            target[key] = value

    def set_item(self) -> None:
        value, key = self.pop(), self.pop()
        self.set_items([key, value])

    def remember(self, place: int) -> None:
        self.count()
        value = self.top()
        if isinstance(value, _Unfilled):
            value.places.append(place)
        self.memo[place] = value

    def global_name(self) -> None:
        lines = bytes(self.data[self.at : self.at + 1000]).split(b"\n", 2)
        if len(lines) < 3:
            raise self.wrong("a name without an end")
        self.at += len(lines[0]) + len(lines[1]) + 2
        self.name(lines[0].decode(), lines[1].decode())

    def stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        self.name(module, name)

    def name(self, module: Any, name: Any) -> None:
        # A whole pair and no attribute of anything: "ndarray.__class__" is another text and not in the list.
        if not (isinstance(module, str) and isinstance(name, str)):
            raise self.wrong(f"{describe(name)} of {describe(module)} as a name")
        if (module, name) not in _ADMITTED:
            raise self.wrong(f"the name {_short(module)}.{_short(name)}, which a pickle would import and may call")
        self.push(_ADMITTED[module, name])

    def reduce(self) -> None:
        given, what = self.pop(), self.pop()
        if not isinstance(given, tuple):
            raise self.wrong(f"a call with {describe(given)} in place of its arguments")
        match what, given:
            case _Name.RECONSTRUCT, (_Name.ARRAY, (0,), memoryview()):
                self.push(_Unfilled())
            case _Name.DTYPE, (str(code), _, _) if code in OBJECT_TYPES or PLAIN_TYPES.fullmatch(code):
                self.push(_Type(code))
            case _Name.SCALAR, (_Type() as kind, memoryview() as values) if kind.code not in OBJECT_TYPES:
                self.push(self.array((), kind, values, "C").item())
            case _Name.FROM_BUFFER, (memoryview() as values, _Type() as kind, tuple(shape), "C" | "F" as order):
                self.push(self.array(shape, kind, values, order))
            case _Name(), _:
                raise self.wrong(f"{what.value} made from {', '.join(map(describe, given))}")
            case _:
                raise self.wrong(f"a call of {describe(what)}")

    def build(self) -> None:
        state, target = self.pop(), self.top()
        match target, state:
            case _Type(), (3 | 4, "<" | ">" | "|" | "=" as order, None, None, None, *_):
                target.order = "=" if order == "|" else order
            case _Unfilled(), (1, tuple(shape), _Type() as kind, bool(fortran), memoryview() | list() as values):
                made = self.array(shape, kind, values, "F" if fortran else "C")
                self.stack[-1] = made
                for place in target.places:
                    if self.memo[place] is target:
                        self.memo[place] = made
            case _:
                raise self.wrong(f"{describe(target)} that is to be given {describe(state)}")

    def array(self, shape: tuple[Any, ...], kind: _Type, values: Any, order: Any) -> NDArray[Any]:
        """An array of exactly the values that are there, so that no shape can ask for memory."""
        if len(shape) > 32 or not all(type(size) is int and size >= 0 for size in shape):
            raise self.wrong("an array whose shape is not made of whole numbers")
        if (kind.code in OBJECT_TYPES) != isinstance(values, list):
            raise self.wrong(f"an array of {kind.code} over {describe(values)}")
        if isinstance(values, list):
            if prod(shape) != len(values):
                raise self.wrong(f"an array of shape {shape} with {len(values)} elements")
            objects = np.empty(len(values), dtype=object)
            for index, value in enumerate(values):
                objects[index] = value
            return objects.reshape(shape, order=order)
        if prod(shape) * kind.numpy.itemsize != len(values):
            raise self.wrong(f"an array of {kind.code} of shape {shape} in {len(values)} bytes")
        if not len(values):
            return np.zeros(shape, kind.numpy)
        return np.frombuffer(values, kind.numpy).reshape(shape, order=order)


def _operations() -> dict[int, Callable[[_Machine], object]]:
    by_name: dict[str, Callable[[_Machine], object]] = {
        "PROTO": _Machine.proto,
        "FRAME": lambda m: m.number(8),
        "STOP": _Machine.stop,
        "MARK": lambda m: m.marks.append(len(m.stack)),
        "NONE": lambda m: m.push(None),
        "NEWTRUE": lambda m: m.push(True),
        "NEWFALSE": lambda m: m.push(False),
        "BININT": lambda m: m.push(int.from_bytes(m.take(4), "little", signed=True)),
        "BININT1": lambda m: m.push(m.number(1)),
        "BININT2": lambda m: m.push(m.number(2)),
        "LONG1": _Machine.long,
        "BINFLOAT": lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
        "SHORT_BINUNICODE": lambda m: m.text(1),
        "BINUNICODE": lambda m: m.text(4),
        "BINUNICODE8": lambda m: m.text(8),
        "SHORT_BINBYTES": lambda m: m.push(m.take(m.number(1))),
        "BINBYTES": lambda m: m.push(m.take(m.number(4))),
        "BINBYTES8": lambda m: m.push(m.take(m.number(8))),
        "BYTEARRAY8": lambda m: m.push(m.take(m.number(8))),
        "EMPTY_LIST": lambda m: m.push([]),
        "APPEND": lambda m: m.append([m.pop()]),
        "APPENDS": lambda m: m.append(m.pop_to_mark()),
        "EMPTY_TUPLE": lambda m: m.push(()),
        "TUPLE": lambda m: m.push(tuple(m.pop_to_mark())),
        "TUPLE1": lambda m: m.tuple_of(1),
        "TUPLE2": lambda m: m.tuple_of(2),
        "TUPLE3": lambda m: m.tuple_of(3),
        "EMPTY_DICT": lambda m: m.push({}),
        "SETITEM": _Machine.set_item,
        "SETITEMS": lambda m: m.set_items(m.pop_to_mark()),
        "MEMOIZE": lambda m: m.remember(len(m.memo)),
        "BINPUT": lambda m: m.remember(m.number(1)),
        "LONG_BINPUT": lambda m: m.remember(m.number(4)),
        "BINGET": lambda m: m.push(m.memo[m.number(1)]),
        "LONG_BINGET": lambda m: m.push(m.memo[m.number(4)]),
        "GLOBAL": _Machine.global_name,
        "STACK_GLOBAL": _Machine.stack_global,
        "REDUCE": _Machine.reduce,
        "BUILD": _Machine.build,
    }
    return {code: by_name[name] for code, name in _NAMES.items() if name in by_name}


_NAMES: Final = {ord(known.code): known.name for known in pickletools.opcodes}
_OPERATIONS: Final = _operations()
