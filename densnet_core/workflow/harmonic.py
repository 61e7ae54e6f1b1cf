"""The harmonic reference of a run as plain data, for harmonic.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from densnet_core.errors import DataError
from densnet_core.spectra.harmonic import HarmonicReference
from densnet_core.stores.molecules import structure_from, structure_record

POLARIZABILITY: Final = "polarizability_derivatives_bohr2"


def harmonic_record(harmonic: HarmonicReference) -> dict[str, Any]:
    """Minimum, Hessian, dipole derivatives and those of the polarizability if known; keys name the units."""
    tensors = harmonic.polarizability_derivatives
    return {
        **structure_record(harmonic.structure),
        "energy_hartree": harmonic.energy,
        "hessian_hartree_per_bohr2": harmonic.hessian.tolist(),
        "dipole_derivatives_e": harmonic.dipole_derivatives.tolist(),
        **({} if tensors is None else {POLARIZABILITY: tensors.tolist()}),
    }


def harmonic_from(
    record: Mapping[str, Any], message: str = "harmonic.json is malformed ({}); remove it to have it made again."
) -> HarmonicReference:
    """Inverse of ``harmonic_record``; ``DataError`` with the message, and what is wrong in it, if it is malformed."""
    try:
        return HarmonicReference(
            structure_from(record),
            record["energy_hartree"],
            np.array(record["hessian_hartree_per_bohr2"]),
            np.array(record["dipole_derivatives_e"]),
            np.array(record[POLARIZABILITY]) if POLARIZABILITY in record else None,
        )
    except (KeyError, TypeError, ValueError, DataError) as error:
        raise DataError(message.format(repr(error))) from error
