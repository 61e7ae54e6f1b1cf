"""The backbone of products on the sphere passes the core's suite."""

from densnet_gaunt.backbone import GauntBackbone
from densnet_gaunt.config import GauntOptions

from densnet_core.models.backbone import Backbone, BackboneShape
from densnet_core.testing.backbone import BackboneTests

SMALL = GauntOptions(channels=6, layers=2, l_max=2, l_max_edge=2, radial_functions=5, radial_width=8)


class TestGauntBackbone(BackboneTests):
    vanishing_derivatives = 2

    def make_backbone(self, shape: BackboneShape) -> Backbone:
        return GauntBackbone(shape, SMALL)
