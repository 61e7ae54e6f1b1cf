"""What a model was trained on: compositions whose energies follow from its data, and those that are refused."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import network_examples as example
from test_training import teacher_frames
from training_parallel import short, train

from densnet_core.datasets.dataset import Dataset
from densnet_core.errors import DataError, InputError
from densnet_core.graphs.graph import graph_of
from densnet_core.models.domain import Composition, Domain, EnergyReference
from densnet_core.potentials.bound import BoundPotential
from densnet_core.potentials.densnet import DenSNet
from densnet_core.training import Plan

ATOM = {name: example.molecule(f"{z} 0 0 0") for name, z in (("H", 1), ("C", 6), ("O", 8))}
HYDROGEN = example.molecule("1 0 0 0\n1 0 0 0.74")
PEROXIDE = example.molecule("8 0 0.7 0\n8 0 -0.7 0\n1 0.8 0.9 0.5\n1 -0.8 -0.9 0.5")
PLAN = Plan([short(2)], [short(2)], batch_size=4, device="cpu", precision="float64")


def reference(*compositions: str, atoms: tuple[int, ...] = ()) -> EnergyReference:
    return EnergyReference(atoms, (0, 1), tuple(map(composition, compositions)))


def composition(text: str) -> Composition:
    """``"1 1 8"``, or ``"1 8 -1"`` where the last number is a negative charge."""
    *numbers, last = (int(word) for word in text.split())
    numbers, charge = (numbers, last) if last < 0 else ([*numbers, last], 0)
    return Composition(tuple(sorted(numbers)), ((charge, 1),))


@pytest.mark.parametrize(
    ("seen", "known", "unknown"),
    [
        # n(H2O) = 0 is all that water alone fixes; with H2 both elements are fixed
        (["1 1 8"], ["1 1 8", "1 1 1 1 8 8"], ["1 1", "8", "1 1 8 8", "6"]),
        (["1 1 8", "1 1"], ["1", "8", "1 1 8 8"], ["6", "1 8 -1"]),
        # C = CH2O - H2O; hydroxide has a state of its own, which another hydroxide fixes
        (["1 1 8", "1 1 6 8", "1 8 -1"], ["6", "6 6 1 1 8", "1 8 -1"], ["1", "1 1 8 8", "8 -1"]),
        (["1 1 8", "1 1", "1 8 -1"], ["8 -1", "1 -1"], ["8 -2"]),
    ],
)
def test_energies_are_known_where_compositions_are_sums_of_those_seen(
    seen: list[str], known: list[str], unknown: list[str]
) -> None:
    one = reference(*seen)
    assert [one.knows(composition(text)) for text in known] == [True] * len(known)
    assert [one.knows(composition(text)) for text in unknown] == [False] * len(unknown)


def test_isolated_atoms_fix_every_neutral_composition_of_theirs() -> None:
    one = reference("1 1 8", atoms=(1, 8))
    assert all(one.knows(composition(text)) for text in ("1", "8", "1 1", "1 1 8 8"))
    assert not one.knows(composition("6"))
    assert not one.knows(composition("1 8 -1"))  # an anion has an electron affinity that no atom knows


@cache
def water_model() -> DenSNet:
    """Trained on water alone, whose specification has carbon too."""
    return train(None, PLAN, teacher_frames(mixed=False))


WAYS: dict[str, Callable[[DenSNet, object], object]] = {
    "predict": lambda model, one: model.predict([example.WATER, one]),
    "evaluate": lambda model, one: model.evaluate(graph_of([example.WATER, one]), ["forces"]),
    "engines and export": lambda model, one: BoundPotential(model, [one]),
    "along": lambda model, one: model.along(one, one.positions[None], "energy"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("molecule", [HYDROGEN, PEROXIDE], ids=["H2", "H2O2"])
def test_an_energy_without_an_origin_is_refused_with_what_to_do(way: str, molecule) -> None:
    with pytest.raises(InputError, match=rf"energy of {molecule.formula} has no meaning.*fit to H2O.*\"reference\""):
        WAYS[way](water_model(), molecule)


def test_the_density_of_such_a_composition_can_be_had() -> None:
    (density,) = water_model().densities([HYDROGEN])
    assert density.electron_count() == pytest.approx(2.0, abs=1e-8)
    np.testing.assert_allclose(water_model().along(HYDROGEN, HYDROGEN.positions[None])[0], density.dipole(), atol=1e-10)
    (whole,) = water_model().predict([example.WATER])
    (alone,) = water_model().densities([example.WATER])
    np.testing.assert_array_equal(whole.density.coefficients, alone.coefficients)


def test_a_package_keeps_what_the_model_was_trained_on(tmp_path: Path) -> None:
    water_model().save(tmp_path / "model")
    document = json.loads((tmp_path / "model" / "model.json").read_text())
    assert document["trained_on"]["energies"]["compositions"] == [{"atoms": {"H": 2, "O": 1}, "states": [[0, 1]]}]
    again = DenSNet.load(tmp_path / "model")
    with pytest.raises(InputError, match="no meaning"):
        again.predict([HYDROGEN])
    assert np.isfinite(again.predict([example.WATER])[0].energy)
    document["trained_on"]["states"] = "all"
    (tmp_path / "model" / "model.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=r"model\.json of .* is malformed"):
        DenSNet.load(tmp_path / "model")


def test_a_model_of_before_says_once_that_it_knows_less(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    water_model().save(tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    document = json.loads(path.read_text())
    del document["trained_on"]
    path.write_text(json.dumps(document))
    with caplog.at_level(logging.WARNING):
        old = DenSNet.load(tmp_path / "model")
        assert np.isfinite(old.predict([HYDROGEN])[0].energy)
    assert [record.message.split(" was made before")[1][:7] for record in caplog.records] == [" models"]
    with pytest.raises(InputError, match="was not trained on H2O with charge 2"):
        old.predict([replace(example.WATER, charge=2)])


def test_a_model_that_goes_on_from_another_knows_the_compositions_of_both() -> None:
    mixed = teacher_frames()
    formaldehyde = mixed.subset([i for i, s in enumerate(mixed.structures) if s.formula == "CH2O"])
    second = train(None, PLAN, formaldehyde, start=water_model())
    known = second.domain.energies
    assert known is not None
    assert [str(one) for one in known.compositions] == ["H2O", "CH2O"]
    assert known.atoms == ()  # those of the first model are a fit, and so they stay
    assert second.domain.knows_energy(Composition.of(ATOM["C"]))
    assert not second.domain.knows_energy(Composition.of(HYDROGEN))


def test_atoms_given_and_atoms_among_the_frames_make_every_composition_known() -> None:
    data = teacher_frames(mixed=False)
    given = EnergyReference.of(replace(data, atomic_energies={1: -0.5, 8: -75.0}))
    atoms = [example.molecule("1 0 0 0"), example.molecule("8 0 0 0")]
    labels = {"energy": [*data.labels["energy"], np.array(-0.5), np.array(-75.0)]}
    among = EnergyReference.of(Dataset([*data.structures, *atoms], labels))
    for found in (given, among):
        assert found.knows(Composition.of(PEROXIDE))
        assert found.knows(Composition.of(HYDROGEN))
    # the atom of H is a doublet: its state has an energy of its own where atoms are a fit
    assert among.knows(Composition((1,), ((0, 2),)))
    assert not given.knows(Composition((1,), ((0, 2),)))


def test_one_domain_in_plain_data_is_the_same_again() -> None:
    domain = Domain((1, 8), ((-1, 1), (0, 1)), reference("1 1 8", "1 8 -1", atoms=(8,)))
    again = Domain.from_dict(json.loads(json.dumps(domain.to_dict())), {})
    assert (again.elements, again.states) == (domain.elements, domain.states)
    assert again.energies is not None
    assert again.energies.compositions == domain.energies.compositions  # type: ignore[union-attr]
    assert again.energies.atoms == (8,)
