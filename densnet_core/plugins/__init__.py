"""Plugin discovery, the component registry and the manager.

A plugin needs a few names from here: ``Component``, ``Kind``, ``KindDescription``, ``Quantity``, ``Objective``,
``StageDescription`` and ``hookimpl``; CONTRIBUTING.md shows a whole one.
"""

from densnet_core.plugins.component import API_VERSION, Component, Kind, KindDescription, StageDescription
from densnet_core.plugins.hookspecs import hookimpl
from densnet_core.plugins.quantity import Objective, Quantity

__all__ = [
    "API_VERSION",
    "Component",
    "Kind",
    "KindDescription",
    "Objective",
    "Quantity",
    "StageDescription",
    "hookimpl",
]
