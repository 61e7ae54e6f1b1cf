"""Checks of the records that hooks return, one record at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import isfinite
from typing import Any, Final, get_args, get_type_hints

from densnet_core.errors import PluginError
from densnet_core.plugins.component import Component, KindDescription, StageDescription
from densnet_core.plugins.hookspecs import RECORD_HOOKS, Record
from densnet_core.plugins.quantity import Objective, Quantity

FAILED_PLUGIN: Final = "plugin"
KIND: Final = "kind"
QUANTITY: Final = "quantity"
OBJECTIVE: Final = "objective"
STAGE: Final = "stage"
RESERVED: Final = (KIND, QUANTITY, OBJECTIVE, STAGE, FAILED_PLUGIN)
"""What stands in the column of kinds for everything that is no component; no kind may have such a name."""
SECTIONS: Final = frozenset(
    (
        "schema",
        "output",
        "data",
        "system",
        "sampling",
        "reference",
        "executor",
        "basis",
        "density",
        "energy",
        "training",
    )
) | {"md", "spectrum"}
"""Keys of a configuration that are the core's, so that no stage of a plugin may be named so."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_WORD = re.compile(r"[a-z][a-z0-9_]*")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_API = re.compile(r"\d+\.\d+")
_A_WORD = "a word of lower-case letters, digits and underscores"


def key(record: Record) -> tuple[str, str]:
    """Kind and name under which a record is known; of two records with one key neither can be used."""
    if isinstance(record, Component):
        return str(record.kind), record.name
    if isinstance(record, KindDescription):
        return KIND, record.name
    if isinstance(record, Quantity):
        return QUANTITY, record.name
    if isinstance(record, StageDescription):
        return STAGE, record.name
    return OBJECTIVE, f"{record.stage}.{record.name}"  # the stages have tables of weights of their own


def checked(hook: str, record: object) -> Record:
    """A record as it is, or a ``PluginError`` that says what is wrong with it."""
    types = RECORD_HOOKS[hook]
    if not isinstance(record, types):
        expected = " or ".join(f"densnet_core.plugins.{one.__name__}" for one in types)
        raise PluginError(f"{hook} returned {record!r}; expected {expected}.")
    what = "component" if isinstance(record, Component) else key(record)[0]
    for problem in _problems(record):
        raise PluginError(f"{what} {record.name!r}: {problem}.")
    return record


def _problems(record: Record) -> Iterator[str]:
    if isinstance(record, Component):
        yield from _of_component(record)
    elif isinstance(record, KindDescription):
        yield from _of_kind(record)
    elif isinstance(record, Quantity):
        yield from _of_quantity(record)
    elif isinstance(record, StageDescription):
        yield from _of_stage(record)
    else:
        yield from _of_objective(record)
    if not isinstance(record.summary, str):
        yield f"summary {record.summary!r} is not text"


def _of_component(component: Component) -> Iterator[str]:
    yield from _mismatch(component, "kind", _WORD, _A_WORD)
    yield from _mismatch(component, "name", _NAME, "a plain word")
    yield from _mismatch(component, "target", _TARGET, "of the form package.module:Class")
    yield from _mismatch(component, "config", _TARGET, "of the form package.module:Model")
    yield from _mismatch(component, "api", _API, "of the form '2.0'")
    if not isinstance(component.install, str):
        yield f"install {component.install!r} is not a command line"
    for field, kind in (("requires", tuple), ("capabilities", frozenset)):
        value = getattr(component, field)
        if not isinstance(value, kind) or not all(isinstance(one, str) for one in value):
            yield f"{field} {value!r} is not a {kind.__name__} of strings"


def _of_kind(kind: KindDescription) -> Iterator[str]:
    yield from _mismatch(kind, "name", _WORD, _A_WORD)
    if kind.name in RESERVED:
        yield "this name has another meaning in 'densnet plugins'"
    yield from _mismatch(kind, "interface", _TARGET, "of the form package.module:Class")
    yield from _mismatch(kind, "suite", _TARGET, "of the form package.module:Class", optional=True)


def _of_quantity(quantity: Quantity) -> Iterator[str]:
    yield from _mismatch(quantity, "name", _WORD, _A_WORD)
    yield from _not_among(quantity, "per")
    if not isinstance(quantity.rank, int) or quantity.rank < 0:
        yield f"rank {quantity.rank!r} is not a number of axes"
    yield from _mismatch(quantity, "reference", _TARGET, "of the form package.module:function", optional=True)
    yield from _mismatch(quantity, "output", _TARGET, "of the form package.module:function", optional=True)


def _of_stage(stage: StageDescription) -> Iterator[str]:
    yield from _mismatch(stage, "name", _WORD, _A_WORD)
    yield from _mismatch(stage, "target", _TARGET, "of the form package.module:Class")
    yield from _mismatch(stage, "config", _TARGET, "of the form package.module:Model", optional=True)
    if stage.config is not None and stage.name in SECTIONS:
        yield "a table of this name is the core's"


def _of_objective(objective: Objective) -> Iterator[str]:
    yield from _mismatch(objective, "name", _WORD, _A_WORD)
    yield from _not_among(objective, "stage")
    for field in ("labels", "outputs"):
        value = getattr(objective, field)
        if not isinstance(value, tuple) or not all(_matches(_WORD, one) for one in value):
            yield f"{field} {value!r} is not a tuple of names of quantities"
    yield from _mismatch(objective, "loss", _TARGET, "of the form package.module:Class", optional=True)
    if objective.loss is None and not len(objective.labels) == len(objective.outputs) == 1:
        yield "without a loss of its own it compares one label with one output"
    if objective.unit is not None and not (_is_number(objective.unit) and objective.unit > 0):
        yield f"unit {objective.unit!r} is not a positive number"
    if not (_is_number(objective.weight) and objective.weight >= 0):
        yield f"weight {objective.weight!r} is not a number of at least zero"


def _mismatch(
    record: Record, field: str, pattern: re.Pattern[str], expected: str, *, optional: bool = False
) -> Iterator[str]:
    value = getattr(record, field)
    if not (_matches(pattern, value) or (optional and value is None)):
        yield f"{field} {value!r} is not {expected}"


def _not_among(record: Record, field: str) -> Iterator[str]:
    """A value that is not one of those that the annotation of the field lists."""
    known = get_args(get_type_hints(type(record))[field])
    value = getattr(record, field)
    if value not in known:
        yield f"{field} {value!r} is not one of {', '.join(known)}"


def _matches(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)
