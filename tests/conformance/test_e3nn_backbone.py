"""The e3nn backbone passes the core's suite."""

from densnet_e3nn.backbone import E3nnBackbone
from densnet_e3nn.config import E3nnOptions

from densnet_core.models.backbone import Backbone, BackboneShape
from densnet_core.testing.backbone import BackboneTests
from densnet_core.testing.neighbours import NeighbourBackbone

SMALL = E3nnOptions(channels=6, layers=2, l_max=2, l_max_edge=2, radial_functions=5, radial_width=8)


class TestE3nnBackbone(BackboneTests):
    vanishing_derivatives = 2

    def make_backbone(self, shape: BackboneShape) -> Backbone:
        return E3nnBackbone(shape, SMALL)


class TestNeighbourBackbone(BackboneTests):
    """Of the suites themselves: it is not e3nn that they were fitted to."""

    vanishing_derivatives = 2

    def make_backbone(self, shape: BackboneShape) -> Backbone:
        return NeighbourBackbone(shape)
