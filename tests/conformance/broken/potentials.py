"""Potentials with one mistake each, and the test of ``PotentialTests`` that must find it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from densnet_core.errors import InputError
from densnet_core.structures import Structure
from densnet_core.testing.potential import PotentialTests
from densnet_core.testing.potentials import PairPotential


def bent(numbers, positions, charge=0):
    return Structure(np.array(numbers), np.array(positions), charge)


STRUCTURES = (
    bent([8, 1, 1], [[0.0, 0.1, 0.0], [1.5, 1.1, 0.2], [-1.3, 1.2, -0.4]]),
    bent([6, 8, 1, 1], [[0.0, 0.0, -1.0], [0.2, 0.1, 1.4], [1.7, 0.4, -2.1], [-1.7, 0.0, -1.9]]),
    bent([8, 1], [[0.1, 0.0, 0.0], [0.2, 0.6, 1.7]], charge=-1),
    bent([7, 1, 1, 1], [[0.0, 0.1, 0.1], [1.8, 0.2, 0.5], [-0.9, 1.5, 0.6], [-0.8, -1.6, 0.9]]),
)


class WrongSignOfForces(PairPotential):
    def evaluate(self, graph, outputs):
        found = super().evaluate(graph, outputs)
        return {name: -value if name == "forces" else value for name, value in found.items()}


class UsesAbsolutePositions(PairPotential):
    def energy(self, graph, vectors, switch):
        held = 1e-6 * graph.positions.square().sum(-1)
        return super().energy(graph, vectors, switch) + graph.sum_over_molecules(held)


class SinglePrecisionPositions(PairPotential):
    """Vectors between atoms in float32: harmless at the origin, rounded to 1e-3 bohr at 1e4 bohr from it."""

    def vectors(self, graph):
        positions = graph.positions.float()
        return (positions[graph.senders] - positions[graph.receivers]).double()


class DipoleOfChargesThatAreNotConserved(PairPotential):
    def charges(self, graph, switch):
        return super().charges(graph, switch) + 1e-3 * self.pull[graph.numbers]


class NormalisedOverTheBatch(PairPotential):
    def energy(self, graph, vectors, switch):
        return super().energy(graph, vectors, switch) * graph.n_atoms / len(graph.senders)


class FeelsOtherMoleculesOfTheBatch(PairPotential):
    """Looks for neighbours itself, and forgets which atoms belong together."""

    def energy(self, graph, vectors, switch):
        square = (graph.positions[:, None] - graph.positions).square().sum(-1)
        return super().energy(graph, vectors, switch) + graph.sum_over_molecules(1e-4 * torch.exp(-square).sum(1))


class ChargeOfTheWholeMolecule(PairPotential):
    """Raw charges, of which the excess is taken from all atoms of the molecule however far away."""

    def energy(self, graph, vectors, switch):
        raw = torch.zeros_like(graph.positions[:, 0]).index_add(0, graph.receivers, switch)
        excess = graph.sum_over_molecules(raw) / graph.sizes
        charges = raw - excess[graph.molecule]
        return super().energy(graph, vectors, switch) + graph.sum_over_molecules(0.01 * charges.square())


class ReachesBeyondTheCutoff(PairPotential):
    """A dispersion without a cutoff, although a cutoff is said."""

    def energy(self, graph, vectors, switch):
        tail = -0.5 / (100.0 + vectors.square().sum(-1)) ** 3
        per_atom = torch.zeros_like(graph.positions[:, 0]).index_add(0, graph.receivers, tail)
        return super().energy(graph, vectors, switch) + graph.sum_over_molecules(per_atom)


class JumpsAtTheCutoff(PairPotential):
    def switch(self, vectors):
        return (vectors.square().sum(-1) < self.cutoff**2).double()


class ForcesJumpAtTheCutoff(PairPotential):
    def switch(self, vectors):
        return (1.0 - vectors.square().sum(-1) / self.cutoff**2).clamp(min=0.0)


class IgnoresTheField(PairPotential):
    """Takes a graph with a field, and answers as if there were none."""

    def evaluate(self, graph, outputs):
        return super().evaluate(replace(graph, field=None), outputs)


class IgnoresTheCell(PairPotential):
    def evaluate(self, graph, outputs):
        return super().evaluate(replace(graph, cell=None), outputs)


class ForgetsTheInducedEnergy(PairPotential):
    def evaluate(self, graph, outputs):
        found = super().evaluate(graph, self.outputs)
        if graph.field is not None:
            found["energy"] = found["energy"] - 1e-2 * (found["dipole"] * graph.field).sum(-1)
        return {name: found[name] for name in outputs}


class DecidesByValues(PairPotential):
    def energy(self, graph, vectors, switch):
        found = super().energy(graph, vectors, switch)
        return found if float(vectors.detach().square().sum(-1).min()) > 1e-4 else 2.0 * found


class CountsNeighbours(PairPotential):
    """How many are near is a number that a trace keeps as it was."""

    def energy(self, graph, vectors, switch):
        near = (vectors.detach().square().sum(-1) < 3.3).nonzero()
        return super().energy(graph, vectors, switch) * (1.0 + 0.1 * len(near))


class DependsOnTheOrder(PairPotential):
    def energy(self, graph, vectors, switch):
        ascending = 1.0 + 0.1 * (graph.senders < graph.receivers) * self.pull[graph.numbers[graph.senders]]
        return super().energy(graph, vectors, switch * ascending)


class KnowsWhereUpIs(PairPotential):
    def energy(self, graph, vectors, switch):
        return super().energy(graph, vectors * torch.tensor([1.0, 1.0, 1.001], dtype=torch.float64), switch)


class KnowsLeftFromRight(PairPotential):
    """A pseudoscalar in the energy: turned molecules are the same, mirrored ones are not."""

    def energy(self, graph, vectors, switch):
        arms = [
            torch.zeros_like(graph.positions).index_add(0, graph.receivers, (weight * switch)[:, None] * vectors)
            for weight in (1.0, self.pull[graph.numbers[graph.senders]], vectors.square().sum(-1))
        ]
        volume = torch.linalg.cross(arms[0], arms[1]).mul(arms[2]).sum(-1)
        return super().energy(graph, vectors, switch) + 1e-3 * graph.sum_over_molecules(volume)


class LopsidedPolarizability(PairPotential):
    def polarizability(self, graph, vectors, switch):
        value = super().polarizability(graph, vectors, switch)
        return torch.stack([value[:, 0], 1.001 * value[:, 1], value[:, 2]], dim=1)


class DrawsRandomNumbers(PairPotential):
    def energy(self, graph, vectors, switch):
        return super().energy(graph, vectors, switch * (1.0 + 1e-6 * torch.rand_like(switch)))


class RequiresAGradientOfItsCaller(PairPotential):
    def evaluate(self, graph, outputs):
        graph.positions.requires_grad_()
        return super().evaluate(graph, outputs)


class MovesTheGivenAtoms(PairPotential):
    def evaluate(self, graph, outputs):
        with torch.no_grad():
            graph.positions.sub_(1e-12)
        return super().evaluate(graph, outputs)


class SinglePrecisionOutputs(PairPotential):
    def evaluate(self, graph, outputs):
        return {name: value.float() for name, value in super().evaluate(graph, outputs).items()}


class GivesMoreThanIsAsked(PairPotential):
    def evaluate(self, graph, outputs):
        self.check_outputs(outputs)
        return super().evaluate(graph, self.outputs)


class CheaperWithoutForces(PairPotential):
    """Another energy where nobody asks for forces."""

    def evaluate(self, graph, outputs):
        found = super().evaluate(graph, outputs)
        return found if "forces" in outputs or "energy" not in found else {**found, "energy": found["energy"] + 1e-6}


class GivesWhatItDoesNotHave(PairPotential):
    def evaluate(self, graph, outputs):
        return super().evaluate(graph, [name for name in outputs if name in self.outputs])


class TakesAnyElement(PairPotential):
    def check(self, structures):
        pass


class ChecksTheFirstMoleculeOnly(PairPotential):
    def check(self, structures):
        super().check(structures[:1])


class RefusesTheFieldItHas(PairPotential):
    def evaluate(self, graph, outputs):
        if graph.field is not None:
            raise InputError("no field here")
        return super().evaluate(graph, outputs)


_T = PotentialTests
BROKEN = {
    WrongSignOfForces: [_T.test_forces_are_minus_the_gradient_of_the_energy],
    UsesAbsolutePositions: [_T.test_a_moved_molecule_is_the_same_also_far_from_the_origin],
    SinglePrecisionPositions: [_T.test_a_moved_molecule_is_the_same_also_far_from_the_origin],
    DipoleOfChargesThatAreNotConserved: [_T.test_a_moved_molecule_is_the_same_also_far_from_the_origin],
    NormalisedOverTheBatch: [_T.test_a_batch_equals_single_molecules],
    FeelsOtherMoleculesOfTheBatch: [_T.test_a_batch_equals_single_molecules],
    ChargeOfTheWholeMolecule: [_T.test_molecules_beyond_the_cutoff_add_up],
    ReachesBeyondTheCutoff: [
        _T.test_molecules_beyond_the_cutoff_add_up,
        _T.test_pairs_beyond_the_cutoff_do_not_matter,
        _T.test_energy_and_forces_are_smooth_at_the_cutoff,
    ],
    JumpsAtTheCutoff: [_T.test_energy_and_forces_are_smooth_at_the_cutoff],
    ForcesJumpAtTheCutoff: [_T.test_energy_and_forces_are_smooth_at_the_cutoff],
    IgnoresTheField: [_T.test_the_derivative_with_the_field_is_minus_the_dipole],
    IgnoresTheCell: [_T.test_optional_inputs_that_are_not_used_are_refused],
    ForgetsTheInducedEnergy: [_T.test_the_derivative_with_the_field_is_minus_the_dipole],
    DecidesByValues: [_T.test_traced_and_exported_energies_and_forces_are_the_same],
    CountsNeighbours: [_T.test_traced_and_exported_energies_and_forces_are_the_same],
    DependsOnTheOrder: [_T.test_the_order_of_atoms_does_not_matter],
    KnowsWhereUpIs: [_T.test_a_turned_or_mirrored_molecule_has_turned_outputs],
    KnowsLeftFromRight: [_T.test_a_turned_or_mirrored_molecule_has_turned_outputs],
    LopsidedPolarizability: [_T.test_polarizabilities_are_symmetric],
    DrawsRandomNumbers: [_T.test_equal_calls_give_equal_numbers],
    RequiresAGradientOfItsCaller: [_T.test_the_graph_is_not_changed],
    MovesTheGivenAtoms: [_T.test_the_graph_is_not_changed],
    SinglePrecisionOutputs: [_T.test_outputs_have_their_names_shapes_and_types],
    GivesMoreThanIsAsked: [_T.test_fewer_outputs_have_the_same_numbers],
    CheaperWithoutForces: [_T.test_fewer_outputs_have_the_same_numbers],
    GivesWhatItDoesNotHave: [_T.test_unknown_outputs_are_refused],
    TakesAnyElement: [_T.test_unknown_elements_are_refused],
    ChecksTheFirstMoleculeOnly: [_T.test_unknown_elements_are_refused],
    RefusesTheFieldItHas: [_T.test_the_derivative_with_the_field_is_minus_the_dipole],
}
