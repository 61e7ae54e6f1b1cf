"""The verbs ``md`` and ``spectrum``: of a configuration, or of a model with a geometry and of a trajectory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from densnet_core.cli.options import Charge, Multiplicity
from densnet_core.cli.output import print_json
from densnet_core.cli.stages import SPECTRUM, Again, AsJson, DryRun, only
from densnet_core.config import load_config
from densnet_core.config.dynamics import ExperimentSection, MDSection, SpectrumSection
from densnet_core.errors import DenSNetError, InputError
from densnet_core.options import Options

md_app = typer.Typer(add_completion=False)
spectrum_app = typer.Typer(add_completion=False)
USUAL, DRAWN = MDSection(), SpectrumSection()


@md_app.command()
def md(
    config: Annotated[
        Path, typer.Argument(help="Configuration file, or a model: path or shipped name.", metavar="CONFIG|MODEL")
    ],
    geometry: Annotated[Path | None, typer.Argument(help="With a model: XYZ file of the molecule.")] = None,
    ps: Annotated[float, typer.Option(help="With a model: length at constant energy, ps.")] = USUAL.nve_ps,
    heating_ps: Annotated[float, typer.Option(help="Length in the heat bath before it, ps.")] = USUAL.nvt_ps,
    temperature: Annotated[float, typer.Option(help="Temperature of the heat bath, K.")] = USUAL.temperature,
    time_step_fs: Annotated[float, typer.Option(help="Time step, fs.")] = USUAL.time_step_fs,
    record_every: Annotated[int, typer.Option(help="Steps between recorded frames.")] = USUAL.record_every,
    record: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OUTPUT", help="An output of the model to keep with every frame beside the dipole, such as charges."
        ),
    ] = None,
    replicas: Annotated[int, typer.Option(help="Independent copies of the molecule.")] = USUAL.replicas,
    seed: Annotated[int, typer.Option(help="Seed of velocities and heat bath.")] = USUAL.seed,
    engine: Annotated[str, typer.Option(help="The engine.")] = USUAL.engine,
    output: Annotated[
        Path | None, typer.Option(help="Directory of the trajectories; a second call goes on.  [default: GEOMETRY-md]")
    ] = None,
    charge: Charge = None,
    multiplicity: Multiplicity = None,
    as_json: AsJson = False,
    dry_run: DryRun = False,
    again: Again = None,
) -> None:
    """Run the dynamics: heat bath, then constant energy. The options that name a molecule are for a model."""
    table = {
        "engine": engine,
        "temperature": temperature,
        "time_step_fs": time_step_fs,
        "nvt_ps": heating_ps,
        "nve_ps": ps,
        "replicas": replicas,
        "record_every": record_every,
        "seed": seed,
        "record": record or [],
    }
    if geometry is None:
        _check_configuration(config, bool(output or charge or multiplicity) or _differs(table, USUAL))
        only("md").carry_out(load_config(config), as_json, dry_run, again)
        return
    if dry_run or again:
        raise InputError("--dry-run and --again are for a configuration, whose stages they name.")
    from densnet_core.cli.progress import RichReporter
    from densnet_core.options import validate
    from densnet_core.structures import read_geometry
    from densnet_core.workflow.dynamics import run_model

    section = validate(MDSection, table)
    structure = read_geometry(geometry, charge, multiplicity)
    with RichReporter() as reporter:
        path = run_model(config, structure, section, output or geometry.with_name(f"{geometry.stem}-md"), reporter)
    if as_json:
        print_json({"path": str(path)})
    else:
        print(path)


def _differs(table: Mapping[str, Any], usual: Options) -> bool:
    """Whether an option has another value than a section has by default."""
    return any(getattr(usual, key) != value for key, value in table.items())


def _check_configuration(config: Path, options: bool) -> None:
    """``InputError`` if what is to be a configuration is a model, or has options that it would not heed."""
    from densnet_core.potentials.shipped import model_path

    if not config.is_file() or config.suffix == ".zip":
        try:
            model = model_path(config)
        except DenSNetError:
            model = config
        if model.exists():
            raise InputError(f"{config} is a model; name the geometry too: densnet md {config} molecule.xyz")
    elif options:
        raise InputError(f"{config} is a configuration, whose dynamics is set in [md]; the options are for a model.")


@spectrum_app.command()
def spectrum(
    given: Annotated[
        list[str],
        typer.Argument(
            help="Configuration file, or a trajectory store; or several of one molecule, averaged with weights.",
            metavar="CONFIG|TRAJECTORY[=WEIGHT]...",
        ),
    ],
    model: Annotated[
        Path | None, typer.Option(help="With a trajectory: the model for its dipoles, where it has none.")
    ] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE[=WEIGHT]",
            help="modes.json of densnet vibrations to stand beside; several of one source are conformers, with weights "
            "or with those of their energies.",
        ),
    ] = None,
    experiment: Annotated[
        Path | None, typer.Option(help="JSON file of measured bands, with the keys of [spectrum.experiment].")
    ] = None,
    minimum: Annotated[float, typer.Option(help="Lower end, cm^-1.")] = DRAWN.minimum,
    maximum: Annotated[float, typer.Option(help="Upper end, cm^-1.")] = DRAWN.maximum,
    window: Annotated[Literal["gaussian", "hann"], typer.Option(help="Shape of the window.")] = DRAWN.window,
    resolution: Annotated[float, typer.Option(help="Width of a sharp line, cm^-1.")] = DRAWN.resolution,
    temperature: Annotated[
        float | None, typer.Option(help="Temperature of the intensities, K.  [default: as measured]")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Stem of the files to write.  [default: TRAJECTORY-spectrum]")
    ] = None,
    as_json: AsJson = False,
    dry_run: DryRun = False,
    again: Again = None,
) -> None:
    """Infrared spectrum of a trajectory, as JSON, picture and a page for the browser.

    The options that set it are for trajectories; a configuration has them in [spectrum].
    """
    from densnet_core.workflow.weighted import weighted

    stores = [weighted(text) for text in given]
    table = {
        "minimum": minimum, "maximum": maximum, "window": window, "resolution": resolution, "temperature": temperature
    }  # fmt: skip
    first = stores[0].path if stores[0].path.name else stores[0].path.absolute()
    if output is not None and output.is_dir():
        raise InputError(
            f"{output} is a folder; give the files that --output writes a stem, such as {output}/spectrum."
        )
    if not first.is_dir():
        if len(stores) > 1 or stores[0].weight or model or compare or experiment or output or _differs(table, DRAWN):
            known = "is a configuration, whose spectrum is set in [spectrum]" if first.is_file() else "is not there"
            raise InputError(
                f"{first} {known}. Several names, and options of the spectrum, are for trajectories, such as "
                "md/nve.zarr in the directory of a run."
            )
        SPECTRUM.carry_out(load_config(first), as_json, dry_run, again)
        return
    if dry_run or again:
        raise InputError("--dry-run and --again are for a configuration, whose stages they name.")
    from densnet_core.cli.progress import RichReporter
    from densnet_core.cli.report import show_bands
    from densnet_core.options import validate
    from densnet_core.workflow.spectra import SpectrumFiles, spectrum_of_stores

    measured = None if experiment is None else _read_experiment(experiment)
    section = validate(SpectrumSection, table).model_copy(update={"experiment": measured})
    files = SpectrumFiles.of(output or first.with_name(f"{first.stem}-spectrum"))
    with RichReporter() as reporter:
        record = spectrum_of_stores(stores, section, model, files, reporter, [weighted(text) for text in compare or ()])
    if as_json:
        print_json(record)
    else:
        show_bands(record)
        print(f"{files.picture}\n{files.page}\n{files.record}")


def _read_experiment(path: Path) -> ExperimentSection:
    """Measured bands from a file with the keys of [spectrum.experiment]."""
    from densnet_core.options import validate
    from densnet_core.workflow.folder import read_json

    if not path.is_file():
        raise InputError(f"There is no file {path} with measured bands.")
    return validate(ExperimentSection, read_json(path, advice=""), prefix=f"{path}: ")
