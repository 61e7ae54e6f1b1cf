"""Records of labels beyond the built-in ones, kept in a store so that it can be read without the plugin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from densnet_core.errors import DataError, InputError
from densnet_core.plugins.quantity import Quantity
from densnet_core.stores.labels import check_quantity


def quantities_record(quantities: Mapping[str, Quantity]) -> dict[str, Any]:
    """Quantities as plain JSON, without the code that computes them."""
    left_out = ("name", "reference", "output", "densities")
    return {
        name: {key: value for key, value in asdict(quantity).items() if key not in left_out}
        for name, quantity in sorted(quantities.items())
    }


def quantities_from(record: Any) -> dict[str, Quantity]:
    """Inverse of ``quantities_record``; ``DataError`` if it is damaged."""
    try:
        found = {name: Quantity(name=name, **fields) for name, fields in record.items()}
        for quantity in found.values():
            check_quantity(quantity)
            if not isinstance(quantity.unit, str) or not isinstance(quantity.summary, str):
                raise ValueError(f"unit {quantity.unit!r}, summary {quantity.summary!r}")
        return found
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(f"The record of the quantities of a store is damaged: {error!r}.") from error


def common_quantities(where: str, known: Mapping[str, Quantity], others: Mapping[str, Quantity]) -> dict[str, Quantity]:
    """All of both, without the code that computes them.

    Raises
    ------
    InputError
        If a label is described in two ways.
    """
    merged = dict(known)
    for name, quantity in others.items():
        plain = replace(quantity, name=name, reference=None, output=None, densities=("density",))
        check_quantity(plain)
        there = merged.setdefault(name, plain)
        for what in ("unit", "per", "rank", "extensive", "depends_on_origin"):
            one, two = getattr(there, what), getattr(plain, what)
            if one != two:
                raise InputError(
                    f"The label {name!r} of {where} has {what} {one!r}, here it is {two!r}: another quantity under the "
                    "same name. Give it another name, or label into a new store."
                )
    return merged
