"""The models, each a zip file beside this module."""

from densnet_core.potentials.shipped import ShippedModel


class Water(ShippedModel):
    """PBE/aug-cc-pVDZ, 200 published geometries, with polarizabilities."""

    file = "water.zip"


class Ethanol(ShippedModel):
    """PBE/aug-cc-pVDZ, 460 frames at 300, 500 and 800 K, both conformers."""

    file = "ethanol.zip"


class Ethanethiol(ShippedModel):
    """PBE/aug-cc-pVDZ, 435 frames at 300, 500 and 800 K, both conformers."""

    file = "ethanethiol.zip"


class Resorcinol(ShippedModel):
    """PBE/aug-cc-pVDZ, 200 frames at 450 and 600 K, three rotamers."""

    file = "resorcinol.zip"


class Thiophenes(ShippedModel):
    """PBE-D4/def2-SVP, 232 frames at 500 K of chains of 1 to 4 units."""

    file = "thiophenes.zip"
