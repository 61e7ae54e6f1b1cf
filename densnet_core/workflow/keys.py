"""What the result of each stage depends on, as short keys: equal keys mean that nothing has to be done."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from densnet_core.basis.base import Basis
from densnet_core.config import Chosen, Config, Selection
from densnet_core.stores.molecules import structure_record
from densnet_core.stores.packages import read_package
from densnet_core.structures import Structure
from densnet_core.workflow.folder import key_of
from densnet_core.workflow.labels import fit_name


def plain(chosen: Chosen | None) -> dict[str, Any] | None:
    """A component with its options as plain data, defaults written out."""
    if chosen is None:
        return None
    return {"name": chosen.component.name, **chosen.options.model_dump(mode="json")}


def stage_keys(config: Config, chosen: Selection, structure: Structure, basis: Basis) -> dict[str, str]:
    """The key of every stage, by its name; each contains the keys of the stages it builds on.

    The executor is not part of any: where a calculation ran does not change its result.
    """
    # A geometry made from SMILES may differ in the last digits from one machine to the next; the molecule does not.
    system, reference = config.to_make()
    molecule: Any = structure.content_hash().hex()
    if system.smiles is not None:
        molecule = [system.smiles, system.charge, system.multiplicity]
    start: list[Any] = [molecule, str(reference.level), plain(chosen.backend)]
    if structure.fragments:  # their charges and spins are an input of the models
        start.append(structure_record(structure)["fragments"])
    # Not among what labels depend on, but what moves does.
    isotopes = [] if structure.isotope_masses is None else [structure.isotope_masses.tolist()]
    training = config.training
    split: list[Any] = [training.seed, training.train, training.validation, training.test]
    keys = {"harmonic": key_of("harmonic", start, *isotopes)}
    keys["sample"] = key_of("sample", start, *isotopes, _sampler(chosen.sampler), *_pool(config, chosen))
    properties = reference.properties
    fitted = [properties, basis.content_hash(), config.basis.metric] if properties else []
    keys["reference"] = key_of("reference", keys["sample"], *fitted)
    labels = fit_name(basis, config.basis.fit_method)
    optimization = config.basis.optimization.model_dump(mode="json")
    keys["basis"] = key_of("basis", keys["reference"], basis.content_hash(), split, optimization)
    optimised = [keys["basis"]] if config.basis.exponents == "element" else []
    keys |= training_keys(config, chosen, [keys["reference"], labels], split[1:], optimised)
    keys["evaluate"] = key_of("evaluate", keys["train"])
    keys["export"] = key_of("export", keys["train"])
    # Looking on changes no trajectory, stopping does.
    md = config.md.model_dump(mode="json", exclude=set() if config.md.strict else {"strict"})
    keys["md"] = key_of("md", keys["train"], *isotopes, md, plain(chosen.engine))
    keys["spectrum"] = key_of("spectrum", keys["md"], config.spectrum.model_dump(mode="json"))
    return keys


def training_keys(
    config: Config, chosen: Selection, data: Sequence[Any], split: Sequence[Any], basis: Sequence[Any] = ()
) -> dict[str, str]:
    """Keys of "density", "energy", "joint" and "train".

    Parameters
    ----------
    data, split, basis : sequence
        What identifies the frames with their labels, their split, and a basis that is made from them.
    """
    training = config.training
    density = [plain(chosen.density_model), plain(chosen.density_backbone), training.density.model_dump(mode="json")]
    energy = [plain(chosen.energy_model), plain(chosen.energy_backbone), training.energy.model_dump(mode="json")]
    # Neither the device nor the number of threads or processes: they change the last digits, and a run may move.
    common = [training.seed, *split, training.batch_size, training.precision, *_contents(training.start)]
    moving = ["atom", config.basis.largest_factor] if config.basis.exponents == "atom" else basis
    keys = {"density": key_of("density", *data, common, density, *moving)}
    keys["energy"] = key_of("energy", keys["density"], energy)
    joint = [] if training.joint is None else [training.joint.model_dump(mode="json")]
    keys["joint"] = keys["train"] = key_of("train", keys["energy"], *joint)
    return keys


def _sampler(chosen: Chosen) -> dict[str, Any]:
    """A sampler as plain data, with digests of the files and stores that it reads."""
    contents = {
        name: file_digest(value) for name, value in chosen.options if isinstance(value, Path) and value.exists()
    }
    return {**(plain(chosen) or {}), **({"contents": contents} if contents else {})}


def file_digest(path: Path) -> str:
    """Digest of a file, or of the checksums of a store's frames."""
    files = [path] if path.is_file() else sorted((path / "frames" / "checksum").rglob("*"))
    digest = hashlib.sha256()
    for file in files:
        if file.is_file():
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _contents(model: Path | None) -> list[str]:
    """Digest of the weights of a model to start from."""
    return [] if model is None else [hashlib.sha256(b"".join(read_package(model))).hexdigest()]


def _pool(config: Config, chosen: Selection) -> list[Any]:
    """What becomes of the sampler's geometries, as far as it differs from the defaults."""
    sampling = config.sampling
    start = None if chosen.sampling_start is None else _sampler(chosen.sampling_start)
    keep = None if sampling.select is None else sampling.select.model_dump(mode="json")
    usual = sampling.min_difference == type(sampling).model_fields["min_difference"].default
    return [] if start is None and keep is None and usual else [start, keep, sampling.min_difference]
