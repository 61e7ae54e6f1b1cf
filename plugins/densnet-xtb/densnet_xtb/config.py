"""Options of the GFN2-xTB sampler; light to import."""

from pydantic import Field

from densnet_core.sampling.config import DynamicsOptions


class XTBLangevinOptions(DynamicsOptions):
    """Options of the sampler ``xtb-langevin``: Langevin dynamics with GFN2-xTB."""

    accuracy: float = Field(default=1.0, gt=0, description="xTB's own accuracy parameter; smaller is tighter.")
