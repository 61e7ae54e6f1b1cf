"""Charge and multiplicity of the systems of a state: what the model was told and what the state says."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from densnet_core.elements import atomic_number, hill_formula
from densnet_core.errors import InputError
from densnet_core.files.words import says_electrons, whole_number

Told = int | Mapping[str, int] | None
"""One number for all systems, one for each formula, or nothing."""
USUAL: Final = {"charge": 0, "multiplicity": 1}
NAMES: Final = {"charge": "charge", "total_charge": "charge", "multiplicity": "multiplicity"}
"""What a state may call them."""


class Electrons:
    """Finds charge and multiplicity of every system.

    Parameters
    ----------
    charge, multiplicity : int, mapping or None
        Of every system; or of those with a formula, such as ``{"OH": -1}``, and the usual of all others, 0 and 1.
        None: what the state says, or the usual.

    Raises
    ------
    InputError
        A formula or a number is not one.
    """

    def __init__(self, charge: Told, multiplicity: Told) -> None:
        self.told = {"charge": _normalised("charge", charge), "multiplicity": _normalised("multiplicity", multiplicity)}

    def said(self, state: Any, ignored: Collection[str]) -> dict[str, tuple[int, ...]]:
        """What a state says, by "charge" and "multiplicity", one number for each system.

        Parameters
        ----------
        ignored : collection of str
            Values of the state that are outputs of the model.

        Raises
        ------
        InputError
            It says so under a name that would not be read, or its integrators would forget it, or twice and
            differently.
        """
        extras = getattr(state, "_system_extras", None)
        found: dict[str, tuple[int, ...]] = {}
        for name in sorted({*type(state)._system_attributes, *(extras or {})} - set(ignored)):
            if name not in NAMES:
                if says_electrons(name):
                    raise InputError(
                        f"state.{name} would not be read: call it 'charge' or 'multiplicity' (2S+1), or give charge= "
                        "and multiplicity= to the model."
                    )
                continue
            what, values = NAMES[name], tuple(whole_number(name, value) for value in getattr(state, name).reshape(-1))
            if extras is None and self.told[what] is None:
                raise InputError(
                    f"Integrators of this version of torch-sim forget state.{name}; give {what}= to the model instead."
                )
            if found.setdefault(what, values) != values:
                raise InputError(f"The state says {what} twice, {found[what]} and {values}; give it once.")
        return found

    def of(
        self, molecules: Sequence[NDArray[np.int64]], said: Mapping[str, tuple[int, ...]]
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Charges and multiplicities of molecules, whose atomic numbers are given, in a state that says this.

        Raises
        ------
        InputError
            The model was told something else.
        """
        formulas = [hill_formula(numbers.tolist()) for numbers in molecules]
        return self._resolved("charge", formulas, said), self._resolved("multiplicity", formulas, said)

    def _resolved(self, what: str, formulas: list[str], said: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
        told, stated = self.told[what], said.get(what)
        if told is None:
            return stated or (USUAL[what],) * len(formulas)
        values = tuple(told.get(one, USUAL[what]) if isinstance(told, dict) else told for one in formulas)
        if stated is not None and stated != values:
            raise InputError(f"The model was told {what}={values} and the state says {stated}; give it once.")
        return values


def _normalised(what: str, told: Told) -> int | dict[str, int] | None:
    if told is None:
        return None
    if isinstance(told, Mapping):
        return {_hill(formula): whole_number(what, value) for formula, value in told.items()}
    return whole_number(what, told)


def _hill(formula: str) -> str:
    """``HO`` for ``OH``; ``InputError`` if it is no formula."""
    if not re.fullmatch(r"([A-Z][a-z]?\d*)+", formula):
        raise InputError(f"{formula!r} is not the formula of a molecule, such as 'OH' or 'C2H6O'.")
    counted = re.findall(r"([A-Z][a-z]?)(\d*)", formula)
    return hill_formula([atomic_number(symbol) for symbol, count in counted for _ in range(int(count or 1))])
