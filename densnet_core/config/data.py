"""The section [data] of a configuration: frames that there are already."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from densnet_core.options import FilePath, Options


def _quoted(value: Any) -> Any:
    """TOML reads a name with a dot that is not in quotes as a table inside a table."""
    if isinstance(value, dict) and (bare := [name for name, inner in value.items() if isinstance(inner, dict)]):
        name = f"{bare[0]}.{next(iter(value[bare[0]]), '')}"
        raise ValueError(f'names need quotes: {{ "{name}" = 1 }}')
    return value


class DataSection(Options):
    """What there is already, in place of [system], [sampling] and [reference], which make it."""

    stores: list[FilePath] = Field(
        default=[],
        description="Stores of labelled frames, of any molecules, charges and spins, all at one level of theory.",
        examples=[["water.zarr", "ethanol.zarr"]],
    )
    files: list[FilePath] = Field(
        default=[],
        description="Files of labelled frames, imported into stores of the run as by 'densnet data import'.",
        examples=[["hydroxide.xyz"]],
    )
    weights: Annotated[dict[FilePath, Annotated[float, Field(gt=0)]], BeforeValidator(_quoted)] = Field(
        default={},
        description="How often frames of each store and file are drawn in training, relative to the others: equal "
        "weights give equal numbers of draws, whatever the sizes. Absent: every frame is drawn equally often.",
        examples=[{"water.zarr": 1.0, "ethanol.zarr": 1.0, "hydroxide.xyz": 2.0}],
    )
    level: str | None = Field(
        default=None,
        description="Level of theory of the files, METHOD/BASIS; QCSchema files say it themselves.",
        examples=["PBE/aug-cc-pVDZ"],
    )
    backend: str = Field(default="pyscf", description="The quantum-chemistry program whose basis the files are in.")
    charge: int | None = Field(
        default=None, description="Total charge of frames of files that do not say it, e; absent: 0.", examples=[-1]
    )
    multiplicity: int | None = Field(
        default=None, ge=1, description="Spin multiplicity 2S+1 likewise; absent: 1.", examples=[2]
    )
    trust: bool = Field(
        default=False, description="Import files too whose labels look wrong: units, signs, levels, repetitions."
    )

    @model_validator(mode="after")
    def _something(self) -> DataSection:
        if not self.stores and not self.files:
            raise ValueError("expected stores = [...] or files = [...], found neither")
        for name in ("stores", "files"):
            named = [path.resolve() for path in getattr(self, name)]
            if twice := sorted({str(path) for path in named if named.count(path) > 1}):
                raise ValueError(f"{name}: {twice[0]} is named twice")
        self._check_weights()
        return self

    def _check_weights(self) -> None:
        if not self.weights:
            return
        named = [path.resolve() for path in (*self.stores, *self.files)]
        weighed = [path.resolve() for path in self.weights]
        if unknown := [path for path in weighed if path not in named]:
            known = ", ".join(path.name for path in named)
            raise ValueError(f"weights: {unknown[0].name} is none of stores and files; they are {known}")
        if lacking := [path for path in named if path not in weighed]:
            raise ValueError(
                f"weights: {lacking[0].name} has none; give one for each store and file (equal ones for equal numbers "
                "of draws), or leave weights out to draw every frame equally often"
            )
        if len(set(weighed)) < len(weighed):
            raise ValueError("weights: a store or file is named twice")

    @property
    def weights_in_order(self) -> list[float] | None:
        """Of the stores, then of the files; None if every frame is drawn equally often."""
        weights = {path.resolve(): weight for path, weight in self.weights.items()}
        return [weights[path.resolve()] for path in (*self.stores, *self.files)] if weights else None
