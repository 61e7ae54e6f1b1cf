"""What training on given frames gains: several molecules in one model, forces without densities, fine-tuning.

    python science/data_sets.py FOLDER together|partial|tuned [--data ../shared/data] [--seeds 0 1 2]

together : one model of ethanol, ethanethiol and water from three stores against one of each, the same steps a store.
partial : 20 frames of water with densities; the same and 75 frames with energies and forces only.
tuned : 45 frames of ethanethiol from random weights; from the model of ethanol, which ``together`` trains with seed 0.

Frames come from the NumPy files of ``--data`` (PBE/aug-cc-pVDZ; water100, ethanol, ethanethiol). Each run is a file
FOLDER/NAME.toml for ``densnet train``; what is finished is not done again, and a killed run goes on. Prints the errors
on held-out frames, mean and standard deviation over the seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from densnet_core.config.load import load_config
from densnet_core.reference.level import LevelOfTheory
from densnet_core.stores.labels import partial_result
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.splits import write_split
from densnet_core.stores.twins import twins_by_hash
from densnet_core.workflow.labels import open_store
from densnet_core.workflow.reporter import Reporter
from densnet_core.workflow.run import Run
from densnet_core.workflow.stores import backend_factory, import_file

LEVEL, BACKBONE = "PBE/aug-cc-pVDZ", "gaunt"
STEPS = {"density": 1000, "energy": 3000}
"""Of one store, batches of five frames; the second train both networks."""


def imported(
    folder: Path, name: str, files: Iterable[Path], parts: Callable[[int], Sequence[int]], without: Path | None = None
) -> Path:
    """A store of the frames of files, divided: ``parts(n)`` are the numbers of training, validation and test frames.

    Frames are taken in an order of their own that has no seed, so every run holds out the same. Those with a geometry
    of another store, ``without``, belong to no part, turned or written with other digits too.
    """
    path = folder / f"{name}.zarr"
    for file in files:
        import_file(file, path, LEVEL, "pyscf", None, None)
    with ReferenceStore.open(path, writable=True) as store:
        if "split" not in store.document_names():
            hashes = [content.hex() for content in store.hashes]
            if without is not None:
                with ReferenceStore.open(without) as other:
                    known = {content.hex() for content in other.hashes}
                    twins = twins_by_hash([one.structure(i) for one in (store, other) for i in range(len(one))])
                hashes = [content for content in hashes if not known & {content, *twins.get(content, ())}]
            order = [hashes[i] for i in np.random.default_rng(0).permutation(len(hashes))]
            first, second, third = np.cumsum(parts(len(order)))
            split = {"train": order[:first], "validation": order[first:second], "test": order[second:third]}
            write_split(store, {**split, "held_out": split["test"]})
    return path


def without_densities(folder: Path, source: Path, few: Path) -> Path:
    """Energies and forces of the training and validation frames of a store that another does not learn from."""
    path = folder / "water-forces.zarr"
    with ReferenceStore.open(few) as store:
        known = {content for part in ("train", "validation", "test") for content in store.read_document("split")[part]}
    factory = backend_factory("pyscf", LevelOfTheory.parse(LEVEL))
    with ReferenceStore.open(source) as store, open_store(path, factory, "pyscf") as target:
        split = store.read_document("split")
        wanted = [c for c in (*split["train"], *split["validation"]) if c not in known]
        for content in wanted:
            index = store.index_of(bytes.fromhex(content))
            if store.structure(index).content_hash() not in target:
                result = store.result(index, labels=["energy", "forces"])
                labels = {"energy": result.energy, "forces": result.forces}
                target.append([(store.structure(index), partial_result(labels))])
        if "split" not in target.document_names():
            write_split(target, {"train": wanted[5:], "validation": wanted[:5], "test": [], "held_out": []})
    return path


def train(
    folder: Path, name: str, stores: Sequence[Path], seed: int, *, steps: Mapping[str, int] = STEPS, **how: Any
) -> dict[str, Any]:
    """Errors on held-out frames of a run, by store, see ``toml_of``."""
    found: dict[str, Any] = Run(load_config(toml_of(folder, name, stores, seed, steps, **how)), Reporter()).do(
        "evaluate"
    )
    return found["stores"]


def toml_of(
    folder: Path,
    name: str,
    stores: Sequence[Path],
    seed: int,
    steps: Mapping[str, int] = STEPS,
    more: str = "",
    balanced: bool = False,
    model: str = "shared",
    of_energy: str = "",
    energy_options: str = "",
    of_basis: str = 'name = "densnet-m"',
    of_backbone: str = "",
    of_density: str = "",
) -> Path:
    """The configuration of a run.

    Parameters
    ----------
    more : str
        Further lines of [training].
    balanced : bool
        As many steps for each store, drawn from equally often.
    of_energy, of_basis : str
        Further keys of [training.energy], and the lines of [basis].
    energy_options, of_backbone, of_density : str
        Options of the energy model, of the backbone and of the density model.
    """
    times = len(stores) if balanced else 1
    file = folder / f"{name}-{seed}.toml"
    names = [f'"{store.resolve()}"' for store in stores]
    weights = ", ".join(f"{name} = 1" for name in names)
    lines = [
        "schema = 1",
        f'output = "{name}-{seed}"',
        "[data]",
        f"stores = [{', '.join(names)}]",
        *([f"weights = {{ {weights} }}"] if balanced else []),
        "[density]",
        f'backbone = "{BACKBONE}"',
        *([f"backbone_options = {{ {of_backbone} }}"] if of_backbone else []),
        *([f"options = {{ {of_density} }}"] if of_density else []),
        "[energy]",
        f'model = "{model}"',
        *([] if model == "shared" else [f'backbone = "{BACKBONE}"']),
        *([f"options = {{ {energy_options} }}"] if energy_options else []),
        "[basis]",
        of_basis,
        "[training]",
        f"seed = {seed}",
        "batch_size = 5",
        f"density = {{ steps = {times * steps['density']} }}",
        f"energy = {{ steps = {times * steps['energy']}{', ' if of_energy else ''}{of_energy} }}",
    ]
    file.write_text("\n".join([*lines, *more.splitlines()]) + "\n")
    return file


def figures(errors: dict[str, Any]) -> dict[str, float]:
    """The mean errors that the tables show."""
    return {
        "NMAE against fit %": errors["density"]["nmae_model_vs_fit_percent"],
        "dipole D": errors["dipole"]["mae_debye"],
        "energy meV": errors["energy"]["mae_mev"],
        "forces meV/A": errors["forces"]["mae_mev_per_angstrom"],
    }


def table(title: str, rows: dict[str, list[dict[str, float]]]) -> None:
    """Mean and standard deviation over the seeds."""
    print(title)
    for name, runs in rows.items():
        cells = [
            f"{what} {np.mean([r[what] for r in runs]):.4g} ({np.std([r[what] for r in runs]):.2g})" for what in runs[0]
        ]
        print(f"  {name:<28} " + "; ".join(cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("what", choices=("together", "partial", "tuned"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    chosen = parser.parse_args()
    folder, data = chosen.folder, chosen.data
    folder.mkdir(parents=True, exist_ok=True)
    {"together": together, "partial": partial, "tuned": tuned}[chosen.what](folder, data, chosen.seeds)


def water_store(folder: Path, data: Path, name: str, train_and_validate: tuple[int, int]) -> Path:
    """Frames of the published training set to learn from, all of the published validation set held out."""
    path = imported(folder, name, [data / "water100" / "train.npz"], lambda n: (*train_and_validate, 0))
    import_file(data / "water100" / "valid.npz", path, LEVEL, "pyscf", None, None)
    with ReferenceStore.open(path, writable=True) as store:
        split = store.read_document("split")
        if not split["test"]:
            test = [content.hex() for content in store.hashes][100:]
            write_split(store, {**split, "test": test, "held_out": test})
    return path


def stores_of(folder: Path, data: Path) -> dict[str, Path]:
    """The three stores."""
    found = {
        name: imported(folder, name, [data / name / "train.npz"], lambda n: (n - 60, 20, 40))
        for name in ("ethanol", "ethanethiol")
    }
    return {**found, "water": water_store(folder, data, "water", (80, 20))}


def together(folder: Path, data: Path, seeds: Sequence[int]) -> None:
    stores = stores_of(folder, data)
    rows: dict[str, list[dict[str, float]]] = {}
    for seed in seeds:
        for name, store in stores.items():
            (errors,) = train(folder, name, [store], seed).values()
            rows.setdefault(f"{name}, alone", []).append(figures(errors))
        joint = train(folder, "together", list(stores.values()), seed, balanced=True)
        for name, errors in zip(stores, joint.values(), strict=True):
            rows.setdefault(f"{name}, together", []).append(figures(errors))
    table(f"{len(seeds)} seeds", dict(sorted(rows.items())))


def partial(folder: Path, data: Path, seeds: Sequence[int]) -> None:
    few = water_store(folder, data, "water-few", (20, 5))
    more = without_densities(folder, water_store(folder, data, "water", (80, 20)), few)
    rows: dict[str, list[dict[str, float]]] = {}
    for seed in seeds:
        for name, used in (("few", [few]), ("few-and-forces", [few, more])):
            errors = train(folder, name, used, seed)[str(few.resolve())]
            rows.setdefault(name, []).append(figures(errors))
    table(f"water, 20 frames with densities, 75 with energies and forces; {len(seeds)} seeds", rows)


def tuned(folder: Path, data: Path, seeds: Sequence[int]) -> None:
    ethanol = stores_of(folder, data)["ethanol"]
    train(folder, "ethanol", [ethanol], 0)
    fifty = imported(folder, "ethanethiol-50", [data / "ethanethiol" / "train.npz"], lambda n: (45, 5, 100))
    start = f'from = "{(folder / "ethanol-0" / "model").resolve()}"'
    rows: dict[str, list[dict[str, float]]] = {}
    for seed in seeds:
        for name, more in (("scratch", ""), ("tuned", start)):
            (errors,) = train(folder, name, [fifty], seed, more=more).values()
            rows.setdefault(name, []).append(figures(errors))
    table(f"ethanethiol, 45 training frames; {len(seeds)} seeds", rows)


if __name__ == "__main__":
    main()
