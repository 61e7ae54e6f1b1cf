"""Runs a reference backend over many frames in the processes of an executor.

The backend's program is imported by the workers only; this process sees structures, results and errors.
"""

from __future__ import annotations

import importlib
import itertools
import json
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from densnet_core.basis.base import Basis, GaussianBasis, Metric
from densnet_core.density.radial import RadialDensity
from densnet_core.errors import DataError, DenSNetError, PluginError
from densnet_core.options import validate
from densnet_core.plugins.blame import blame
from densnet_core.plugins.manager import get_manager
from densnet_core.reference.base import ReferenceBackend, ReferenceResult
from densnet_core.reference.executors import Executor, Outcome
from densnet_core.reference.level import LevelOfTheory
from densnet_core.structures import Structure

Array = NDArray[np.float64]
Frame = tuple[Structure, Array, Array]
"""Structure, orbitals (n_basis, n_orbitals) and occupations (n_orbitals,) or (n_densities, n_orbitals)."""
Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class BackendFactory:
    """What a worker process needs to make a backend; plain data, so that it travels between processes.

    Parameters
    ----------
    target : str
        ``"package.module:Class"`` of the backend.
    level : LevelOfTheory
    options : mapping
        Options as plain data.
    config : str or None
        ``"package.module:Model"``, the pydantic model that validates ``options``; None hands over no options.
    properties : tuple of str
        What every calculation computes beyond energy, forces, dipole and orbitals; of ``reference.base.PROPERTIES``.
    """

    target: str
    level: LevelOfTheory
    options: Mapping[str, Any] = field(default_factory=dict)
    config: str | None = None
    properties: tuple[str, ...] = ()

    def make(self) -> ReferenceBackend:
        """The backend, made at the first call in this process.

        Raises
        ------
        PluginError
            ``target`` or ``config`` cannot be imported.
        InputError
            The backend refuses level of theory or options, or does not compute one of the properties.
        """
        key = json.dumps(
            [self.target, asdict(self.level), dict(self.options), self.config], sort_keys=True, default=str
        )
        if key not in _made:
            options = None if self.config is None else validate(_imported(self.config), self.options)
            _made[key] = _imported(self.target)(self.level, options)
        _made[key].check_properties(self.properties)
        return _made[key]

    def compute(self, structure: Structure) -> ReferenceResult:
        """The result of a structure with the properties, its shapes checked; see ``ReferenceBackend.compute``.

        Raises
        ------
        DataError
            The backend returned something of the wrong shape, or not finite.
        """
        result = self.make().compute(structure, self.properties)
        check_result(structure, result, self.properties)
        return result


_made: dict[str, ReferenceBackend] = {}


@dataclass(frozen=True)
class LabelCounts:
    """What became of the frames given to ``label``: each is counted once."""

    computed: int = 0
    failed: int = 0
    skipped: int = 0
    repeated: int = 0


def label(
    factory: BackendFactory,
    structures: Iterable[Structure],
    executor: Executor,
    on_result: Callable[[Structure, ReferenceResult], None],
    on_failure: Callable[[Structure, Exception], None],
    skip: Callable[[bytes], bool] | None = None,
    progress: Callable[[int], None] | None = None,
) -> LabelCounts:
    """Compute every frame that is not yet known, each once, and hand over results as they come.

    Parameters
    ----------
    factory : BackendFactory
    structures : iterable of Structure
        Read as workers become free. Of frames with equal content hash only the first is computed.
    executor : Executor
    on_result, on_failure : callable
        Called in this process with the structure and its result or error; what they raise ends the run.
    skip : callable or None
        Given a content hash, True if the frame needs no calculation.
    progress : callable or None
        Given the number of frames dealt with so far, skipped and repeated ones included.

    Raises
    ------
    DenSNetError
        The backend itself cannot be made (unknown functional, missing program): no frame has failed then.
    """
    under_way: dict[int, Structure] = {}
    counts = dict.fromkeys(("computed", "failed", "skipped", "repeated"), 0)

    def count(what: str) -> None:
        counts[what] += 1
        if progress is not None:
            progress(sum(counts.values()))

    def tasks() -> Iterator[Structure]:
        seen: set[bytes] = set()
        index = itertools.count()
        for structure in structures:
            content = structure.content_hash()
            if content in seen:
                count("repeated")
            elif skip is not None and skip(content):
                seen.add(content)
                count("skipped")
            else:
                seen.add(content)
                under_way[next(index)] = structure
                yield structure

    with closing(_outcomes(executor, _Compute(factory), tasks())) as outcomes:
        for outcome in outcomes:
            structure = under_way.pop(outcome.index)
            if outcome.value is not None:
                on_result(structure, outcome.value)
                count("computed")
            else:
                on_failure(structure, _error(outcome))
                count("failed")
    return LabelCounts(**counts)


def project_many(
    factory: BackendFactory,
    frames: Iterable[Frame],
    basis: Basis,
    metric: Metric,
    executor: Executor,
    on_result: Callable[[int, Array], None],
    on_failure: Callable[[int, Exception], None],
    progress: Callable[[int], None] | None = None,
) -> None:
    """Project the densities of many frames on ``basis``; see ``ReferenceBackend.project``.

    Parameters
    ----------
    frames : iterable of (structure, orbitals, occupations)
        Read as workers become free, so that they may come straight from a store.
    on_result, on_failure : callable
        Called with the frame's position in ``frames`` and the vector (n_functions,), or (n_densities, n_functions) of
        a frame of several densities; or its error.
    progress : callable or None
        Given the number of frames dealt with so far.

    Raises
    ------
    DenSNetError
        The backend itself cannot be made.
    """
    function = _Project(factory, basis.to_dict(), metric)
    with closing(_outcomes(executor, function, frames)) as outcomes:
        for done, outcome in enumerate(outcomes, start=1):
            if outcome.value is not None:
                on_result(outcome.index, outcome.value)
            else:
                on_failure(outcome.index, _error(outcome))
            if progress is not None:
                progress(done)


def atomic_densities(factory: BackendFactory, numbers: Iterable[int], executor: Executor) -> dict[int, RadialDensity]:
    """Densities of the free atoms of these elements, by atomic number; raises the first error."""
    elements = sorted({int(z) for z in numbers})
    answers = ask_backend(factory, "atomic_density", [(z,) for z in elements], executor)
    return dict(zip(elements, answers, strict=True))


def ask_backend(
    factory: BackendFactory, method: str, arguments: Iterable[tuple[Any, ...]], executor: Executor
) -> list[Any]:
    """Answers of one of the backend's methods to each tuple of arguments, in their order; raises the first error."""
    answers = {}
    with closing(_outcomes(executor, _Ask(factory, method), arguments)) as outcomes:
        for outcome in outcomes:
            if outcome.error is not None:
                raise outcome.error
            answers[outcome.index] = outcome.value
    return [answers[index] for index in sorted(answers)]


class _NoBackend(DenSNetError):
    """The backend could not be made; holds why. Not an error of one frame."""


def _backend(factory: BackendFactory) -> ReferenceBackend:
    try:
        return factory.make()
    except DenSNetError as error:
        raise _NoBackend(error) from error
    except Exception as error:
        guilty = blame(error, get_manager().plugins)
        text = f"{factory.target} cannot be made: {type(error).__name__}: {error}."
        raise _NoBackend(PluginError(f"Defect in {guilty}: {text} {guilty.advice}" if guilty else text)) from error


@dataclass(frozen=True, eq=False)
class _Compute:
    factory: BackendFactory

    def __call__(self, structure: Structure) -> ReferenceResult:
        _backend(self.factory)
        return self.factory.compute(structure)


@dataclass(frozen=True, eq=False)
class _Project:
    factory: BackendFactory
    basis: dict[str, Any]
    metric: Metric

    def __call__(self, frame: Frame) -> Array:
        structure, orbitals, occupations = frame
        basis = GaussianBasis.from_dict(self.basis)
        vector = _backend(self.factory).project(structure, orbitals, occupations, basis, self.metric)
        _check("the projection", vector, (*occupations.shape[:-1], basis.n_functions(structure.numbers)))
        return vector


@dataclass(frozen=True, eq=False)
class _Ask:
    factory: BackendFactory
    method: str

    def __call__(self, arguments: tuple[Any, ...]) -> Any:
        return getattr(_backend(self.factory), self.method)(*arguments)


def check_result(structure: Structure, result: ReferenceResult, properties: Collection[str]) -> None:
    """``DataError`` if a backend's result lacks something or has it in the wrong shape."""
    shapes: dict[str, tuple[int, ...]] = {
        "forces": (structure.n_atoms, 3),
        "dipole": (3,),
        "occupations": result.orbitals.shape[1:],
    }
    asked = {"quadrupole": (3, 3), "polarizability": (3, 3), "density_response": (3, *result.orbitals.shape)}
    labels = {"density_response": "response"}
    shapes |= {labels.get(name, name): shape for name, shape in asked.items() if name in properties}
    for name, shape in shapes.items():
        values = getattr(result, name)
        if values is None:
            raise DataError(f"The backend returned no {name}, which it was asked for.")
        _check(f"the {name}", values, shape)
    _check("the energy", np.asarray(result.energy), ())
    _check("the orbitals", result.orbitals, (result.orbitals.shape[0], result.occupations.size))
    if "spin_density" in properties and structure.multiplicity > 1 and not (result.occupations == 1.0).all():
        raise DataError("The backend returned doubly occupied orbitals of an open shell; spins need alpha and beta.")


def _check(what: str, array: Array, shape: tuple[int, ...]) -> None:
    """A backend's mistake must not become a label."""
    if array.shape != shape or not np.isfinite(array).all():
        found = f"shape {array.shape}" if array.shape != shape else "values that are not finite"
        raise DataError(f"The backend returned {what} with {found} (expected finite values of shape {shape}).")


def _outcomes(
    executor: Executor, function: Callable[[Task], Result], tasks: Iterable[Task]
) -> Generator[Outcome[Result], None, None]:
    """The executor's outcomes; ends them all, with the reason, when there is no backend to work with."""
    outcomes = executor.map(function, tasks)
    try:
        for outcome in outcomes:
            if isinstance(outcome.error, _NoBackend):
                raise outcome.error.args[0]
            yield outcome
    finally:
        if isinstance(outcomes, Generator):
            outcomes.close()


def _error(outcome: Outcome[Any]) -> Exception:
    return outcome.error or DataError("The calculation returned nothing.")


def _imported(path: str) -> Any:
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise PluginError(f"{path!r} cannot be imported in a worker process: {error}.") from error
