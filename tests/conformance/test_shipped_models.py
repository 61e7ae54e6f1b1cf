"""Every model that densnet-models carries passes the core's suite, and is small."""

import pytest
from densnet_models.plugin import densnet_components

from densnet_core.plugins.manager import get_manager
from densnet_core.testing.shipped import ShippedModelTests

NAMES = [component.name for component in densnet_components()]
LARGEST = 5_000_000
"""Bytes."""


def suite(name):
    target = get_manager().load(get_manager().find("model", name))
    return ShippedModelTests.of_component(target, dict)


for _name in NAMES:
    globals()[f"Test{_name.capitalize()}"] = suite(_name)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_small_and_called_by_its_name(name):
    target = get_manager().load(get_manager().find("model", name))
    assert target.path().stat().st_size < LARGEST
    assert target.file == f"{name}.zip"
