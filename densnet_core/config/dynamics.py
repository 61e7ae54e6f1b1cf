"""The sections [md] and [spectrum] of a configuration: what is done with a model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from densnet_core.options import FilePath, Options


class MDSection(Options):
    """Molecular dynamics: a piece in a heat bath, then one at constant energy that the spectrum is taken from."""

    engine: str = Field(default="torch", description="The engine.")
    temperature: float = Field(default=300.0, gt=0, description="Temperature of the heat bath, K.")
    time_step_fs: float = Field(default=0.5, gt=0, description="Time step, fs.")
    nvt_ps: float = Field(default=5.0, ge=0, description="Length of the piece in the heat bath (Langevin), ps.")
    nve_ps: float = Field(default=20.0, gt=0, description="Length of the piece at constant energy (Verlet), ps.")
    friction_per_ps: float = Field(default=5.0, gt=0, description="Friction of the heat bath, 1/ps.")
    replicas: int = Field(default=8, ge=1, description="Independent copies of the molecule, integrated together.")
    record_every: int = Field(default=2, ge=1, description="Steps between recorded frames.")
    seed: int = Field(default=0, ge=0, description="Seed of velocities and heat bath.")
    options: dict[str, Any] = Field(default_factory=dict, description="The engine's own options.")
    record: list[str] = Field(
        default=[],
        description="Outputs of the model to keep with every frame, beside the dipole.",
        examples=[["charges", "polarizability"]],
        exclude_if=lambda names: not names,  # without any, a trajectory is the one it was before there was the option
    )
    strict: bool = Field(default=False, description="Stop at frames unlike those that the model was trained on.")

    @model_validator(mode="after")
    def _at_least_one_step(self) -> MDSection:
        if self.nve_ps * 1000.0 < self.time_step_fs * self.record_every:
            raise ValueError(
                f"nve_ps = {self.nve_ps} is shorter than one recorded interval, "
                f"{self.record_every} steps of {self.time_step_fs} fs"
            )
        return self


class RegionSection(Options):
    """A part of a measured spectrum that was integrated as a whole."""

    name: str = Field(min_length=1, description="For people.")
    lower: float = Field(ge=0, description="Lower end, cm^-1.")
    upper: float = Field(gt=0, description="Upper end, cm^-1.")
    intensity: float | None = Field(default=None, ge=0, description="Integrated intensity, km/mol.")
    relative_intensity: float | None = Field(
        default=None, ge=0, description="Area relative to those of the other regions, where its unit is not known."
    )

    @model_validator(mode="after")
    def _ordered(self) -> RegionSection:
        if self.lower >= self.upper:
            raise ValueError(f"lower ({self.lower} cm^-1) must be below upper ({self.upper} cm^-1)")
        return self


class ExperimentSection(Options):
    """Experimental bands that are drawn into the spectrum."""

    bands: list[float] = Field(min_length=1, description="Positions, cm^-1.", examples=[[1595.0, 3657.0, 3756.0]])
    intensities: list[float] | None = Field(
        default=None,
        description="Integrated intensities in the same order, km/mol, if known.",
        examples=[[62.5, 2.9, 41.7]],
    )
    source: str = Field(min_length=1, description="Where the numbers are from.", examples=["author, journal, year"])
    regions: list[RegionSection] | None = Field(
        default=None,
        description="Measured integrals over regions: of each name, lower and upper, and intensity (km/mol) or "
        "relative_intensity.",
        examples=[[{"name": "OH stretches", "lower": 3500.0, "upper": 3900.0, "intensity": 44.6}]],
    )

    @model_validator(mode="after")
    def _plausible(self) -> ExperimentSection:
        if any(band <= 0 for band in self.bands):
            raise ValueError(f"bands must be positive wavenumbers, found {self.bands}")
        if self.intensities is not None and len(self.intensities) != len(self.bands):
            raise ValueError(f"{len(self.bands)} bands and {len(self.intensities)} intensities; give one per band")
        return self


class SpectrumSection(Options):
    """The infrared spectrum."""

    minimum: float = Field(default=400.0, ge=0, description="Lower end, cm^-1.")
    maximum: float = Field(default=4000.0, gt=0, description="Upper end, cm^-1.")
    window: Literal["gaussian", "hann"] = Field(
        default="gaussian", description="Shape of the window on the correlation function."
    )
    resolution: float = Field(
        default=10.0, gt=0, description="Full width at half maximum that the window gives a sharp line, cm^-1."
    )
    temperature: float | None = Field(
        default=None,
        gt=0,
        description="Temperature of the intensities, K; absent: the one measured in the trajectory.",
        examples=[300.0],
    )
    compare: list[FilePath] | None = Field(
        default=None,
        description="modes.json of 'densnet vibrations' whose harmonic lines stand beside; a conformer with a mirror "
        "image is named twice.",
        examples=[["anti-vibrations/modes.json", "gauche-vibrations/modes.json"]],
    )
    compare_weights: list[Annotated[float, Field(gt=0)]] | None = Field(
        default=None,
        description="Of the files of compare, in their order; absent: Boltzmann's, from the energies in the files.",
        examples=[[0.35, 0.65]],
    )
    experiment: ExperimentSection | None = None

    @model_validator(mode="after")
    def _ordered(self) -> SpectrumSection:
        if self.minimum >= self.maximum:
            raise ValueError(f"minimum ({self.minimum} cm^-1) must be below maximum ({self.maximum} cm^-1)")
        expected, found = len(self.compare or ()), len(self.compare_weights or ())
        if self.compare_weights is not None and found != expected:
            raise ValueError(
                f"compare_weights: expected one for each of the {expected} files of compare, found {found}"
            )
        return self
