"""Pickled arrays that an adversary wrote: refused by name, and nothing in them runs."""

from __future__ import annotations

import contextlib
import copyreg
import io
import os
import pickle
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from densnet_core.errors import DataError
from densnet_core.stores.unpickling import read_object_array

HEADER = {"descr": "|O", "fortran_order": False, "shape": (1,)}


def npy(path: Path, pickled: bytes, **header: Any) -> Path:
    """An NPY file with this pickle."""
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {**HEADER, **header})
    path.write_bytes(out.getvalue() + pickled)
    return path


def refused(path: Path) -> str:
    with pytest.raises(DataError) as error:
        read_object_array(path)
    return str(error.value)


def same(one: Any, two: Any) -> bool:
    if isinstance(one, np.ndarray) and one.dtype == object:
        return one.shape == two.shape and all(map(same, one.flat, two.flat))
    if isinstance(one, np.ndarray):
        return one.dtype == two.dtype and one.shape == two.shape and np.array_equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return type(one) is type(two) and len(one) == len(two) and all(map(same, one, two))
    return type(one) is type(two) and one == two


VALUES = [
    *(None, True, 0, 255, 65536, -1, -(2**40), 2**62, 1.5, "", "café", (), (1,), (1, 2, 3, 4), [], {}, {"a": [1]}),
    *(np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3)), np.zeros((0, 3), np.float32)),
    *(np.array([1, 2], dtype=">i4"), np.array([True, False]), np.array(["O", "Hh"]), np.array(3.0)),
    *(list(range(3000)), {str(i): i for i in range(3000)}, ["x" * 300] * 3),
]


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_what_numpy_writes_is_read_as_numpy_reads_it(tmp_path: Path, protocol: int) -> None:
    array = np.empty(len(VALUES), dtype=object)
    for index, value in enumerate(VALUES):
        array[index] = value
    read = read_object_array(npy(tmp_path / "a.npy", pickle.dumps(array, protocol), shape=array.shape))
    for value, found in zip(VALUES, read, strict=True):
        assert same(value, found), value


def test_scalars_become_plain_numbers_and_old_names_are_known(tmp_path: Path) -> None:
    array = np.empty((), dtype=object)
    array[()] = {"e": np.float64(-76.3), "n": np.int32(4), "s": np.str_("O"), "a": np.arange(3.0)}
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    new = (tmp_path / "a.npy").read_bytes()
    assert b"numpy._core.multiarray" in new
    (tmp_path / "old.npy").write_bytes(new.replace(b"\x8c\x16numpy._core.multiarray", b"\x8c\x15numpy.core.multiarray"))
    for name in ("a.npy", "old.npy"):
        found = read_object_array(tmp_path / name)[()]
        assert (found["e"], found["n"], found["s"]) == (-76.3, 4, "O")
        assert [type(found[key]) for key in "ens"] == [float, int, str]
        assert np.array_equal(found["a"], [0.0, 1.0, 2.0])


class Calls:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def text(value: str) -> bytes:
    data = value.encode()
    return b"\x8c" + bytes([len(data)]) + data


def call(module: str, name: str, argument: str) -> bytes:
    """STACK_GLOBAL and REDUCE with one text."""
    return b"\x80\x04" + text(module) + text(name) + b"\x93" + text(argument) + b"\x85R."


def malicious(canary: Path) -> dict[str, tuple[bytes, str]]:
    """Pickles that make the canary if they are carried out as ``pickle`` would, and what the refusal names."""
    touch = f"__import__('pathlib').Path({str(canary)!r}).touch()"
    shell = f"touch {canary}"
    array = np.array([Calls(os.system, shell), 1], dtype=object)
    return {
        "os.system by REDUCE": (pickle.dumps([Calls(os.system, shell)], 4), r"posix\.system"),
        "os.system inside an object array": (pickle.dumps(array, 4), r"posix\.system"),
        "builtins.eval": (pickle.dumps([Calls(eval, touch)], 4), r"builtins\.eval"),
        "protocol 3 GLOBAL": (b"\x80\x03cbuiltins\nexec\n" + b"X" + struct.pack("<I", len(touch)) + touch.encode()
                              + b"\x85R.", r"builtins\.exec"),
        "protocol 0": (b"cos\nsystem\n(S'" + shell.encode() + b"'\ntR.", "TUPLE|STRING|os.system"),
        "INST": (b"\x80\x03(" + text(shell) + b"ios\nsystem\n.", "INST"),
        "OBJ": (b"\x80\x03(cos\nsystem\n" + text(shell) + b"o.", r"os\.system"),
        "NEWOBJ": (b"\x80\x04" + text("subprocess") + text("Popen") + b"\x93" + text(shell) + b"\x85\x81.",
                   r"subprocess\.Popen"),
        "a walk along attributes": (call("numpy", "ndarray.__class__.__base__.__subclasses__", touch),
                                    r"numpy\.ndarray\.__class__"),
        "a walk to builtins": (call("numpy", "dtype.__init__.__globals__", touch), r"numpy\.dtype\.__init__"),
        "numpy's own exec": (call("numpy.testing._private.utils", "runstring", touch), r"numpy\.testing"),
        "numpy.load": (call("numpy", "load", str(canary)), r"numpy\.load"),
        "numpy.fromfile": (call("numpy", "fromfile", str(canary)), r"numpy\.fromfile"),
        "numpy.memmap": (call("numpy", "memmap", str(canary)), r"numpy\.memmap"),
        "numpy.f2py": (call("numpy.f2py", "compile", touch), r"numpy\.f2py\.compile"),
        "numpy.random": (call("numpy.random._pickle", "__randomstate_ctor", touch), r"numpy\.random"),
        "a code object": (call("types", "CodeType", touch), r"types\.CodeType"),
        "marshal": (call("marshal", "loads", touch), r"marshal\.loads"),
        "getattr": (call("builtins", "getattr", touch), r"builtins\.getattr"),
        "copyreg": (call("copyreg", "_reconstructor", touch), r"copyreg\._reconstructor"),
        "codecs": (call("_codecs", "encode", touch), r"_codecs\.encode"),
        "persistent id": (b"\x80\x04" + text(touch) + b"Q.", "BINPERSID"),
        "out-of-band buffer": (b"\x80\x05\x97.", "NEXT_BUFFER"),
        "the type of arrays called": (b"\x80\x04" + text("numpy") + text("ndarray") + b"\x93K\x01\x85R.",
                                      "the type of arrays made from 1"),
        "a text called": (b"\x80\x04" + text("f") + text("x") + b"\x85R.", "a call of 'f'"),
        "attributes set on a name": (b"\x80\x04" + text("numpy") + text("dtype") + b"\x93}" + text("__call__")
                                     + text("x") + b"sb.", "is to be given a dict"),
        "attributes set on a list": (b"\x80\x04]}" + text("append") + text("x") + b"sb.", "a list of 0 that is to be"),
    }  # fmt: skip


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "attack" in metafunc.fixturenames:
        metafunc.parametrize("attack", sorted(malicious(Path("canary"))))


def test_attacks_are_refused_by_name_and_nothing_runs(tmp_path: Path, attack: str) -> None:
    canary = tmp_path / "canary"
    pickled, named = malicious(canary)[attack]
    with pytest.raises(DataError, match=named):
        read_object_array(npy(tmp_path / "a.npy", pickled, shape=(1,)))
    assert not canary.exists()


def test_the_canary_would_have_been_made(tmp_path: Path) -> None:
    """The attacks are real: Python's own unpickler carries them out."""
    canary = tmp_path / "canary"
    for name in ("os.system by REDUCE", "os.system inside an object array", "builtins.eval", "protocol 3 GLOBAL"):
        pickle.loads(malicious(canary)[name][0])  # noqa: S301 - our own pickle, which makes a file in tmp_path
        assert canary.exists(), name
        canary.unlink()


def test_codes_of_the_extension_registry_are_refused_even_if_they_are_known(tmp_path: Path) -> None:
    copyreg.add_extension("os", "getcwd", 0x7A)
    try:
        pickled = pickle.dumps(os.getcwd, 2)
        copyreg.add_extension("posix", "getcwd", 0x7B)
        pickled = b"\x80\x04\x82\x7b)R."
        assert pickle.loads(pickled) == os.getcwd()  # noqa: S301 - which also puts it into pickle's cache
        assert "EXT1" in refused(npy(tmp_path / "a.npy", pickled))
    finally:
        copyreg.remove_extension("os", "getcwd", 0x7A)
        copyreg.remove_extension("posix", "getcwd", 0x7B)


def array_pickle(code: str, flags: int, values: bytes, shape: int) -> bytes:
    """A pickled array with flags of its dtype of one's own choice."""
    made = b"\x80\x04" + text("numpy._core.multiarray") + text("_reconstruct") + b"\x93"
    made += text("numpy") + text("ndarray") + b"\x93K\x00\x85C\x01b\x87R"
    kind = text("numpy") + text("dtype") + b"\x93" + text(code) + b"\x89\x88\x87R"
    kind += b"(K\x03" + text("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK" + bytes([flags]) + b"tb"
    state = b"(K\x01J" + struct.pack("<i", shape) + b"\x85" + kind + b"\x89" + values + b"tb."
    return made + state


def test_bytes_never_become_pointers(tmp_path: Path) -> None:
    """An object array whose dtype claims flags 0 would make NumPy's ``__setstate__`` take its bytes for objects."""
    pointers = b"C\x10" + struct.pack("<QQ", 0xDEADBEEF, 0x41414141)
    for flags in (0, 63):
        assert "an array of O8 over" in refused(npy(tmp_path / "a.npy", array_pickle("O8", flags, pointers, 2)))
    listed = b"]" + text("x") + b"a"
    assert "an array of f8 over a list" in refused(npy(tmp_path / "b.npy", array_pickle("f8", 63, listed, 1)))


@pytest.mark.parametrize(
    ("code", "shape", "values", "found"),
    [
        ("f8", 2**30, b"C\x08" + bytes(8), "in 8 bytes"),
        ("f8", -1, b"C\x08" + bytes(8), "whole numbers"),
        ("O8", 2**30, b"]", "with 0 elements"),
        ("M8", 1, b"C\x08" + bytes(8), "the type of types made from 'M8'"),
        ("V8", 1, b"C\x08" + bytes(8), "the type of types made from 'V8'"),
        ("f16", 1, b"C\x10" + bytes(16), "the type of types made from 'f16'"),
        ("U999999999", 1, b"C\x08" + bytes(8), "the type of types made from"),
        ("f8", 1, b"\x8e" + struct.pack("<Q", 2**62) + bytes(8), "bytes announced at byte .* left"),
        ("f8", 1, b"B\xff\xff\xff\xff" + bytes(8), "4294967295 bytes announced"),
    ],
)
def test_absurd_sizes_and_types_take_no_memory(
    tmp_path: Path, code: str, shape: int, values: bytes, found: str
) -> None:
    path = npy(tmp_path / "a.npy", array_pickle(code, 0, values, shape))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=found):
            read_object_array(path)
        assert tracemalloc.get_traced_memory()[1] < 2e6
    finally:
        tracemalloc.stop()


def test_a_header_that_claims_terabytes_is_refused(tmp_path: Path) -> None:
    sound = pickle.dumps(np.array([None], dtype=object), 4)
    assert "announces an array of objects of shape (1000000000000,)" in refused(
        npy(tmp_path / "a.npy", sound, shape=(10**12,))
    )
    assert "holds an array of float64" in refused(npy(tmp_path / "b.npy", b"", descr="<f8", shape=(10**12,)))
    assert "a list of 0 follows" in refused(npy(tmp_path / "c.npy", b"\x80\x04]."))


def test_bombs_are_refused_or_stay_small(tmp_path: Path) -> None:
    deep = b"\x80\x04" + b"]" * 1_000_000
    assert "more than 100000 values that nothing has taken up" in refused(npy(tmp_path / "deep.npy", deep + b"."))
    nested = b"\x80\x04]" + b"\x85" * 1_000_000 + b"."  # a tuple in a tuple in a tuple, one byte each
    assert "a tuple of 1 follows" in refused(npy(tmp_path / "nested.npy", nested))
    marks = b"\x80\x04" + b"(" * 1_000_000 + b"."
    assert "nothing has taken up" in refused(npy(tmp_path / "marks.npy", marks))
    laughs: Any = ["ha"] * 10
    for _ in range(40):  # 10^41 elements if anybody went through them; the memo keeps it at 40 lists
        laughs = [laughs] * 10
    array = np.empty(1, dtype=object)
    array[0] = laughs
    assert len(read_object_array(npy(tmp_path / "laughs.npy", pickle.dumps(array, 4)))[0]) == 10


def test_no_cut_and_no_changed_byte_leads_to_another_error(tmp_path: Path) -> None:
    array = np.empty((2, 2), dtype=object)
    array[:] = [[{"a": np.arange(3.0)}, np.float64(1)], [[("O", np.zeros(3, np.float32))], "x"]]
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    whole = (tmp_path / "a.npy").read_bytes()
    path = tmp_path / "b.npy"
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        refused(path)
    path.write_bytes(whole + b"x")
    assert "1 bytes behind the end" in refused(path)
    generator = np.random.default_rng(0)
    for _ in range(4000):
        changed = bytearray(whole)
        for place in generator.integers(0, len(whole), size=generator.integers(1, 4)):
            changed[place] = generator.integers(0, 256)
        path.write_bytes(bytes(changed))
        with contextlib.suppress(DataError):
            read_object_array(path)


def test_a_key_without_a_value_is_refused(tmp_path: Path) -> None:
    """Python's unpickler does too ("odd number of items for SETITEMS"); None in its place would be made up."""
    odd = b"\x80\x04}(" + text("positions") + b"K\x01" + text("energy") + b"u."
    with pytest.raises(pickle.UnpicklingError, match="odd number"):
        pickle.loads(odd)  # noqa: S301 - our own pickle, a dictionary
    assert "found the key 'energy' of a dictionary without its value" in refused(npy(tmp_path / "a.npy", odd))
    even = b"\x80\x04}(" + text("positions") + b"K\x01u."
    assert "a dict of 1 follows" in refused(npy(tmp_path / "b.npy", even))


def test_an_array_in_itself_is_an_unfilled_one(tmp_path: Path) -> None:
    array = np.empty(1, dtype=object)
    array[0] = array
    read = read_object_array(npy(tmp_path / "a.npy", pickle.dumps(array, 4)))
    assert not isinstance(read[0], np.ndarray)


def test_files_of_other_kinds_are_named(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in refused(tmp_path / "none.npy")
    (tmp_path / "empty.npy").write_bytes(b"")
    assert "is no NPY file" in refused(tmp_path / "empty.npy")
    (tmp_path / "pickle.npy").write_bytes(pickle.dumps([1]))
    assert "is no NPY file" in refused(tmp_path / "pickle.npy")
    np.save(tmp_path / "plain.npy", np.arange(3))
    assert "holds an array of int64; expected an array of Python objects" in refused(tmp_path / "plain.npy")
