"""The samplers of this repository pass the suite that everybody's pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from densnet_rdkit.chains import ChainSampler
from densnet_rdkit.config import ChainOptions, ConformerOptions, RotatableBondOptions
from densnet_rdkit.conformers import ConformerSampler
from densnet_rdkit.torsions import RotatableBondSampler
from densnet_xtb.config import XTBLangevinOptions
from densnet_xtb.sampler import XTBLangevinSampler

from densnet_core.elements import symbol
from densnet_core.sampling.base import Sampler
from densnet_core.sampling.config import FileOptions, LangevinOptions, NormalModeOptions, TorsionScanOptions
from densnet_core.sampling.files import FileSampler
from densnet_core.sampling.langevin import LangevinSampler
from densnet_core.sampling.normal_modes import NormalModeSampler
from densnet_core.sampling.torsions import TorsionScanSampler
from densnet_core.testing.sampler import SamplerTests
from densnet_core.testing.springs import ETHANOL
from densnet_core.units import BOHR_TO_ANGSTROM


class TestNormalModes(SamplerTests):
    def make_sampler(self, **options: Any) -> Sampler:
        return NormalModeSampler(NormalModeOptions(**options))


class TestLangevin(SamplerTests):
    def make_sampler(self, **options: Any) -> Sampler:
        return LangevinSampler(LangevinOptions(**options))


class TestFile(SamplerTests):
    path: ClassVar[Path]

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _written(cls, tmp_path_factory: pytest.TempPathFactory) -> None:
        random = np.random.default_rng(0)
        lines = []
        for _ in range(8):
            positions = (ETHANOL.positions + random.normal(0.0, 0.05, (9, 3))) * BOHR_TO_ANGSTROM
            lines += ["9", ""]
            lines += [f"{symbol(int(z))} {x} {y} {w}" for z, (x, y, w) in zip(ETHANOL.numbers, positions, strict=True)]
        cls.path = tmp_path_factory.mktemp("frames") / "frames.xyz"
        cls.path.write_text("\n".join(lines) + "\n")

    def make_sampler(self, **options: Any) -> Sampler:
        return FileSampler(FileOptions(path=self.path, **options))


class TestWholeTorsionScan(SamplerTests):
    def make_sampler(self, **options: Any) -> Sampler:
        return TorsionScanSampler(TorsionScanOptions(bonds=[[1, 2]], **{**options, "count": None}))

    def test_it_makes_as_many_as_it_is_asked_for(self) -> None:
        assert len(self.sample()) == 12


class TestTorsionScan(SamplerTests):
    def make_sampler(self, **options: Any) -> Sampler:
        return TorsionScanSampler(TorsionScanOptions(bonds=[[1, 2], [2, 3]], **options))


class TestRDKitTorsions(SamplerTests):
    def make_sampler(self, **options: Any) -> Sampler:
        return RotatableBondSampler(RotatableBondOptions(hydrogens=True, **options))


class TestConformers(SamplerTests):
    def make_sampler(self, **options: Any) -> Sampler:
        return ConformerSampler(ConformerOptions(smiles="CC(O)CCO", **options))


class TestChains(SamplerTests):
    def make_sampler(self, **options: Any) -> Sampler:
        return ChainSampler(ChainOptions(unit="*CC(O)*", units=[1, 2], conformers=3, **options))


class TestXTB(SamplerTests):
    def make_sampler(self, **options: Any) -> Sampler:
        short = {"walkers": 2, "equilibration_fs": 10.0, "interval_fs": 10.0}
        return XTBLangevinSampler(XTBLangevinOptions(**short, **options))
