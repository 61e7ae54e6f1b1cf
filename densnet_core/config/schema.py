"""The schema of a configuration file, section by section.

Fields carry their unit in the description; the starter file (``densnet init``), the JSON schema and the messages are
made from these models, so a field is described here and nowhere else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import ConfigDict, Field, PrivateAttr, field_validator, model_validator

from densnet_core.config.basis import BasisSection
from densnet_core.config.data import DataSection
from densnet_core.config.dynamics import MDSection, SpectrumSection
from densnet_core.elements import atomic_number
from densnet_core.errors import ConfigError
from densnet_core.options import FilePath, ModelPath, Options
from densnet_core.reference.level import PROPERTIES, LevelOfTheory

SCHEMA_VERSION: Final = 1
Section = TypeVar("Section", bound=Options)


class SystemSection(Options):
    """The molecule."""

    geometry: FilePath | None = Field(
        default=None,
        description="Starting geometry, an XYZ file (angstrom); the path is relative to this file.",
        examples=["molecule.xyz"],
    )
    smiles: str | None = Field(
        default=None,
        min_length=1,
        description="The molecule as SMILES, in place of a geometry; needs densnet-rdkit.",
        examples=["CCO"],
    )
    charge: int = Field(default=0, description="Total charge, e.")
    multiplicity: int = Field(default=1, ge=1, description="Spin multiplicity 2S+1.")

    @model_validator(mode="after")
    def _one_molecule(self) -> SystemSection:
        if (self.geometry is None) == (self.smiles is None):
            found = "neither" if self.geometry is None else "both"
            raise ValueError(f"expected either geometry or smiles, found {found}")
        return self


class _OpenSection(Options):
    """A section whose remaining keys are the options of the component that it names."""

    model_config = ConfigDict(extra="allow")

    @property
    def options(self) -> dict[str, Any]:
        """The component's own table, not yet validated."""
        return dict(self.model_extra or {})


class SelectSection(Options):
    """Keep a diverse part of the geometries, by farthest points."""

    count: int = Field(ge=1, description="Number of geometries to keep.", examples=[100])


class StartSection(_OpenSection):
    """Another sampler whose geometries [sampling] starts from, instead of the molecule; further keys are its own."""

    method: str = Field(description="The sampler.", examples=["langevin"])


class SamplingSection(_OpenSection):
    """How the geometries of the reference calculations are made; further keys are the sampler's own."""

    method: str = Field(default="normal-modes", description="The sampler.")
    min_difference: float = Field(
        default=1e-4,
        ge=0,
        description="Geometries whose distances differ by less than this part of them (root mean square) count as one.",
    )
    start: StartSection | None = None
    select: SelectSection | None = None


class ExecutorSection(_OpenSection):
    """Where the reference calculations run; further keys are the executor's own."""

    name: str = Field(default="local", description="The executor.")


class ReferenceSection(Options):
    """The reference calculations."""

    backend: str = Field(default="pyscf", description="The quantum-chemistry program.")
    method: str = Field(description="Density functional, or HF.", examples=["PBE"])
    basis: str = Field(description="Orbital basis.", examples=["aug-cc-pVDZ"])
    dispersion: Literal["d3bj", "d4"] | None = Field(
        default=None, description="Dispersion correction, if any.", examples=["d4"]
    )
    properties: list[str] = Field(
        default=[],
        description="Computed for every frame beyond energy, forces, dipole and density: what the backend can, and "
        "labels of plugins.",
        examples=[["polarizability", "density_response"]],
    )
    options: dict[str, Any] = Field(default_factory=dict, description="The backend's own options.")

    @field_validator("properties")
    @classmethod
    def _in_order(cls, properties: list[str]) -> list[str]:
        return [*(name for name in PROPERTIES if name in properties), *sorted(set(properties) - set(PROPERTIES))]

    @property
    def level(self) -> LevelOfTheory:
        """Method, orbital basis and dispersion as one record."""
        return LevelOfTheory(self.method, self.basis, self.dispersion)


DEFAULT_BACKBONE: Final = "gaunt"


class _ModelSection(Options):
    model: str = Field(default="equivariant", description="The model.")
    backbone: str | None = Field(
        default=None,
        description="The network that turns a molecule into features of its atoms; absent: "
        f"{DEFAULT_BACKBONE!r}, where the model takes one.",
        examples=[DEFAULT_BACKBONE],
    )
    options: dict[str, Any] = Field(default_factory=dict, description="The model's own options.")
    backbone_options: dict[str, Any] = Field(default_factory=dict, description="The backbone's own options.")


class DensitySection(_ModelSection):
    """The network from geometry to electron density."""


class EnergySection(_ModelSection):
    """The network from electron density to energy."""

    model: str = Field(default="shared", description="The model; 'shared' stands on the density network.")


Weights = dict[str, Annotated[float, Field(ge=0)]]


class ThenSection(Options):
    """A second stage of a training, from the best model of the first, with weights and learning rate of its own."""

    steps: int = Field(ge=1, description="Optimisation steps.", examples=[1000])
    learning_rate: float = Field(gt=0, description="Largest learning rate.", examples=[1e-3])
    weights: Weights = Field(
        default={}, description="Weights of the terms, as for the first stage.", examples=[{"energy": 10.0}]
    )


class _StageSection(Options):
    steps: int = Field(default=5000, ge=1, description="Optimisation steps.")
    learning_rate: float = Field(default=5e-3, gt=0, description="Largest learning rate.")
    schedule: Literal["cosine", "plateau", "constant"] = Field(
        default="cosine",
        description="Learning rate after the warm-up: half a cosine down to 1 %; halved after five validations without "
        "a better one; or constant.",
    )
    warm_up: int | None = Field(
        default=None,
        ge=0,
        description="Steps over which the learning rate rises from zero; absent: 2 % of all.",
        examples=[100],
    )
    patience: int | None = Field(
        default=None,
        ge=1,
        description="Validations in a row without a better one after which the training ends; absent: it does not.",
        examples=[20],
    )
    ema_decay: float = Field(
        default=0.99, ge=0, lt=1, description="Decay per step of the moving average of the weights; 0 switches it off."
    )
    validate_every: int = Field(
        default=200, ge=1, description="Steps between validations; the model of the best one is the result."
    )
    checkpoint_every: int = Field(default=200, ge=1, description="Steps between checkpoints.")
    weights: Weights = Field(
        default={},
        description="Weights of the terms of the loss by the name of the objective; 0 leaves one out. What is not "
        "named has its own default, 1 for those of the core.",
        examples=[{"dipole": 1.0}],
    )
    then: ThenSection | None = None


class DensityTrainingSection(_StageSection):
    """Training of the density network."""


class EnergyTrainingSection(_StageSection):
    """Training of the energy network."""

    atoms: Literal["fit", "reference"] | dict[str, float] = Field(
        default="fit",
        description="Energies of isolated atoms that the energy stands on: a least-squares fit to the training "
        "energies, computed by the reference backend (atoms in their ground multiplicity), or a table in hartree.",
        examples=[{"H": -0.4999, "O": -75.01}],
    )

    @field_validator("atoms")
    @classmethod
    def _elements(cls, atoms: str | dict[str, float]) -> str | dict[str, float]:
        if isinstance(atoms, dict):
            for name in atoms:
                atomic_number(name)
        return atoms


class PretrainingSection(_StageSection):
    """What the networks learn first: energies and forces of a cheaper level of theory, of any number of geometries.

    Of the cheap level nothing stays but what the features learned: energies begin anew with the frames of the run.
    """

    stores: list[FilePath] = Field(
        min_length=1,
        description="Stores of frames of the same elements with energies and forces, all at one level, which may be "
        "another than that of the run. Geometries that the run holds out are left out here too.",
        examples=[["xtb.zarr"]],
    )


class JointTrainingSection(_StageSection):
    """Fine-tuning of both networks together, on the terms of both."""

    learning_rate: float = Field(default=5e-4, gt=0, description="Largest learning rate.")


class TrainingSection(Options):
    """How the frames are split and the networks trained.

    With [data], train, validation and test are parts in proportion of every store that has no split of its own.
    """

    seed: int = Field(default=0, ge=0, description="Seed of the split, the initial weights and the order of frames.")
    train: int = Field(default=80, ge=1, description="Frames to train on.")
    validation: int = Field(
        default=10, ge=1, description="Frames whose errors are watched during training; never learned from."
    )
    test: int = Field(default=10, ge=1, description="Frames held out for the final errors.")
    batch_size: int = Field(default=10, ge=1, description="Frames per optimisation step.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where the networks train; auto: on a CUDA device if there is one."
    )
    precision: Literal["float32", "float64"] = Field(
        default="float32",
        description="Precision of the networks; densities and energies are summed in float64 in any case.",
    )
    threads: int = Field(
        default=1,
        ge=1,
        description="Threads of the CPU; those of a small molecule have little to share, and native code has one.",
    )
    compile: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="Steps by native code, of the density network and where both learn together: nearly twice as fast "
        "after a minute or two of building; auto: in trainings that are long enough, where there is a C++ compiler. "
        "Results agree to rounding.",
    )
    start: ModelPath | None = Field(
        default=None,
        alias="from",
        description="A finished model (its folder or zip file, or the name of a shipped one) of the same networks and "
        "basis to start from; it may lack elements.",
        examples=["ethanol"],
    )
    pretraining: PretrainingSection | None = None
    density: DensityTrainingSection = Field(default_factory=DensityTrainingSection)
    energy: EnergyTrainingSection = Field(default_factory=EnergyTrainingSection)
    joint: JointTrainingSection | None = None

    @property
    def frames(self) -> int:
        """Frames needed in all."""
        return self.train + self.validation + self.test


class Config(Options):
    """A whole configuration file. Read one with ``densnet_core.config.load_config``."""

    version: Literal[1] = Field(alias="schema", description="Version of the layout of this file.", examples=[1])
    output: FilePath | None = Field(
        default=None,
        description="Directory of the results, relative to this file; absent: runs/<name of this file>.",
        examples=["runs/molecule"],
    )
    data: DataSection | None = None
    system: SystemSection | None = None
    sampling: SamplingSection = Field(default_factory=SamplingSection)
    reference: ReferenceSection | None = None
    executor: ExecutorSection = Field(default_factory=ExecutorSection)
    basis: BasisSection | None = None
    density: DensitySection = Field(default_factory=DensitySection)
    energy: EnergySection = Field(default_factory=EnergySection)
    training: TrainingSection = Field(default_factory=TrainingSection)
    md: MDSection = Field(default_factory=MDSection)
    spectrum: SpectrumSection = Field(default_factory=SpectrumSection)

    _source: Path = PrivateAttr(default=Path("config.toml"))
    _stages: dict[str, Any] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _where_data_come_from(self) -> Config:
        making = ("system", "sampling", "reference")
        if self.data is not None:
            if both := [f"[{name}]" for name in making if name in self.model_fields_set]:
                raise ValueError(
                    f"[data] names frames that there are, {' and '.join(both)} would make some; keep the one or the "
                    "other ('densnet data import' puts calculations that you have into a store)"
                )
        elif self.system is None:
            raise ValueError(
                "found neither [data] nor [system]: name stores of labelled frames in [data], or a molecule in "
                "[system] and a level of theory in [reference] to have frames made"
            )
        return self

    @property
    def source(self) -> Path:
        """The file that this was read from, absolute."""
        return self._source

    @property
    def stage_tables(self) -> dict[str, Any]:
        """The tables of plugins' stages, not yet validated."""
        return self._stages

    @property
    def output_directory(self) -> Path:
        """Directory of the run's results, absolute."""
        return (self.output or self._source.parent / "runs" / self._source.stem).resolve()

    def needed_system(self) -> SystemSection:
        """The section [system]; ``ConfigError`` if there is none, as if it was a required key of the file."""
        return self._needed(self.system, "system", SystemSection)

    def needed_reference(self) -> ReferenceSection:
        """The section [reference]; ``ConfigError`` likewise."""
        return self._needed(self.reference, "reference", ReferenceSection)

    def needed_basis(self) -> BasisSection:
        """The section [basis]; ``ConfigError`` likewise."""
        return self._needed(self.basis, "basis", BasisSection)

    def _needed(self, found: Section | None, name: str, model: type[Section]) -> Section:
        if found is not None:
            return found
        if self.data is not None and name != "basis":
            raise ConfigError(
                f"{self._source.name}: this needs a molecule, and [data] names frames in place of [system] and "
                "[reference]. 'densnet train' makes a model of them; 'densnet predict', 'densnet md' and "
                "'densnet export' go on with it and a geometry."
            )
        raise ConfigError(f"{self._source.name}: {name}: missing ({(model.__doc__ or '').partition(chr(10))[0]})")
