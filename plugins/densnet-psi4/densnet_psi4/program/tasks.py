"""The jobs by name: each takes the request and its arrays, and returns plain values and arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from densnet_psi4.program.atom import atom
from densnet_psi4.program.projection import project
from densnet_psi4.program.scf import scf

Job = Callable[[dict[str, Any], dict[str, Any]], tuple[dict[str, Any], dict[str, Any]]]


def version(request: dict[str, Any], arrays: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Nothing but what every answer says."""
    return {}, {}


TASKS: Final[dict[str, Job]] = {"version": version, "scf": scf, "project": project, "atom": atom}
