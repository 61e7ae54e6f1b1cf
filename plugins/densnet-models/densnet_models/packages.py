"""The models, each a zip file beside this module."""

from densnet_core.potentials.shipped import ShippedModel


class Water(ShippedModel):
    """PBE/aug-cc-pVDZ, 200 published frames."""

    file = "water.zip"


class Ethanol(ShippedModel):
    """PBE/aug-cc-pVDZ, 400 frames at 500 and 800 K, both conformers."""

    file = "ethanol.zip"


class Ethanethiol(ShippedModel):
    """PBE/aug-cc-pVDZ, 375 frames at 500 and 800 K, both conformers."""

    file = "ethanethiol.zip"
