"""Plugin discovery, the component registry and the manager.

A plugin needs three names from here: ``Component``, ``Kind`` and ``hookimpl``; CONTRIBUTING.md shows a whole one.
"""

from densnet_core.plugins.component import API_VERSION, Component, Kind
from densnet_core.plugins.hookspecs import hookimpl

__all__ = ["API_VERSION", "Component", "Kind", "hookimpl"]
