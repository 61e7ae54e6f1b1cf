"""Model packages of before, without states, brought to the document and the tensors of today."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

NEIGHBORS: Final = 6.0
"""What backbones were normalised by before they took the number of neighbours from the data."""


def is_old(document: Mapping[str, Any]) -> bool:
    """Whether a package was made before models recorded the states of their training data."""
    return "states" not in document


def todays(document: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Document and tensors of an old package as today's code reads them; its numbers stay what they were.

    Such a model knows one charge and multiplicity, those of its configuration, and spreads the excess of electrons
    over the whole molecule.
    """
    system = document.get("config", {}).get("system", {})
    states = [[int(system.get("charge", 0)), int(system.get("multiplicity", 1))]]
    density = dict(document["density"])
    density["options"] = {**density["options"], "charge": "spread"}
    added = {
        f"{name}.backbone.neighbors": torch.tensor(NEIGHBORS, dtype=torch.float64) for name in ("density", "energy")
    }
    added["energy.state_energies"] = torch.zeros(1, dtype=torch.float64)
    return {**document, "states": states, "density": density}, {**added, **tensors}
