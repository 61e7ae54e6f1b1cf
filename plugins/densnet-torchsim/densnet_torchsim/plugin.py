"""What this distribution offers to DenSNet: nothing that a configuration names. Its users import ``DenSNetModel``."""

from densnet_core.plugins import Component, hookimpl


@hookimpl
def densnet_components() -> list[Component]:
    return []
