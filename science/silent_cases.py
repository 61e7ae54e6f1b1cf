"""What the command line says to the inputs that once gave a wrong number without a word: the table of docs/silent.md.

    python science/silent_cases.py MODEL [FOLDER]

MODEL is a water model, as ``make demo`` makes it (runs/water/model). Each case is typed as a user would type it, in
FOLDER (a temporary one if none is given); the table has the command, its exit code and what decided it. A few minutes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

BOHR = 0.529177210903
LONGEST = 240
"""Characters of an answer that are shown."""
WATER = "O 0.0 0.0 0.0\nH 0.757127 0.586151 0.0\nH -0.757127 0.586151 0.0\n"
MOLECULE = "Properties=species:S:1:pos:R:3"
CONFIG = """schema = 1
[system]
geometry = "{geometry}"
[sampling]
method = "{sampler}"
{more}
[reference]
method = "{method}"
basis = "{basis}"
[basis]
name = "def2-universal-jkfit"
"""


@dataclass(frozen=True)
class Case:
    """An input and the command that meets it.

    Parameters
    ----------
    kind, title : str
        The number of the case in the list that the project began with, and what the input is.
    command : list of str
        Arguments of ``densnet``.
    prepare : callable
        Writes what the command reads into a folder.
    environment : dict or None
        Added to that of the command.
    """

    kind: str
    title: str
    command: list[str]
    prepare: Callable[[Path], None]
    environment: dict[str, str] | None = None


def geometry(name: str, atoms: str, comment: str = "", bom: bool = False) -> Callable[[Path], None]:
    """Writes an XYZ file."""

    def write(folder: Path) -> None:
        text = f"{len(atoms.splitlines())}\n{comment}\n{atoms}"
        (folder / name).write_text(("\ufeff" if bom else "") + text, encoding="utf-8")

    return write


def configuration(
    atoms: str, method: str, basis: str, comment: str = "", sampler: str = "normal-modes", more: str = ""
) -> Callable[[Path], None]:
    """Writes a molecule and a configuration about it."""

    def write(folder: Path) -> None:
        geometry("molecule.xyz", atoms, comment)(folder)
        names = {"geometry": "molecule.xyz", "sampler": sampler, "more": more, "method": method, "basis": basis}
        (folder / "case.toml").write_text(CONFIG.format(**names))

    return write


def two_frames(folder: Path) -> None:
    """A configuration whose geometry file has two frames."""
    configuration(WATER, "HF", "STO-3G")(folder)
    path = folder / "molecule.xyz"
    path.write_text(2 * path.read_text())


def labels(change: Callable[[dict[str, np.ndarray]], None]) -> Callable[[Path], None]:
    """Writes forty waters with the labels of a model surface, changed."""

    def write(folder: Path) -> None:
        random = np.random.default_rng(0)
        start = np.array([[0.0, 0.0, 0.0], [1.43, 1.11, 0.0], [-1.43, 1.11, 0.0]])
        positions = start + random.normal(scale=0.08, size=(40, 3, 3))
        values = [surface(one) for one in positions]
        frames = {
            "numbers": np.tile([8, 1, 1], (40, 1)),
            "positions_angstrom": positions * BOHR,
            "energy_hartree": np.array([energy for energy, _ in values]),
            "forces_hartree_per_angstrom": np.array([forces for _, forces in values]) / BOHR,
        }
        change(frames)
        np.savez(folder / "labels.npz", **frames)

    return write


def surface(positions: np.ndarray) -> tuple[float, np.ndarray]:
    """Energy, hartree, and forces, hartree/bohr, of Morse functions of the three distances of a water."""
    energy, forces = -76.35, np.zeros((3, 3))
    for i, j, rest, depth, steepness in ((0, 1, 1.81, 0.17, 1.2), (0, 2, 1.81, 0.17, 1.2), (1, 2, 2.86, 0.05, 1.0)):
        vector = positions[i] - positions[j]
        distance = np.linalg.norm(vector)
        grown = 1.0 - np.exp(-steepness * (distance - rest))
        energy += depth * grown**2
        pull = 2.0 * depth * grown * steepness * np.exp(-steepness * (distance - rest)) * vector / distance
        forces[i] -= pull
        forces[j] += pull
    return energy, forces


def negative(frames: dict[str, np.ndarray]) -> None:
    frames["forces_hartree_per_angstrom"] *= -1.0


def in_bohr(frames: dict[str, np.ndarray]) -> None:
    frames["forces_hartree_per_angstrom"] *= BOHR


def in_ev(frames: dict[str, np.ndarray]) -> None:
    frames["energy_hartree"] *= 27.211386


def relative(frames: dict[str, np.ndarray]) -> None:
    frames["energy_hartree"] -= frames["energy_hartree"].mean()


def dragged(frames: dict[str, np.ndarray]) -> None:
    frames["forces_hartree_per_angstrom"][:, 0, 0] += 0.05


def turned(frames: dict[str, np.ndarray]) -> None:
    twin = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    for name in ("positions_angstrom", "forces_hartree_per_angstrom"):
        frames[name][20:] = frames[name][:20] @ twin.T
    frames["energy_hartree"][20:] = frames["energy_hartree"][:20] + 0.01


def cases(model: str) -> list[Case]:
    """The list; ``model`` is the water model."""
    o2 = "O 0.0 0.0 0.0\nO 0.0 0.0 1.21\n"
    boxed = "O 0.0 0.0 0.0\nH 0.757127 0.586151 0.0\nH 4.242873 0.586151 0.0\n"
    box = f'Lattice="5 0 0 0 5 0 0 0 5" pbc="T T T" {MOLECULE}'
    stretched = WATER.replace("-0.757127 0.586151", "-2.4 1.8")
    predict = ["predict", model, "molecule.xyz"]
    imported = ["data", "import", "labels.npz", "labels.zarr", "--level", "PBE/aug-cc-pVDZ"]
    check = ["config", "check", "case.toml"]

    water = geometry("molecule.xyz", WATER)

    def commented(comment: str) -> Callable[[Path], None]:
        return geometry("molecule.xyz", WATER, f"{MOLECULE} {comment}")

    return [
        Case("2", "a periodic geometry", predict, geometry("molecule.xyz", boxed, box)),
        Case("2", "the same as a system", check, configuration(boxed, "HF", "STO-3G", box)),
        Case("3", "`spin=3` of O2", check, configuration(o2, "HF", "STO-3G", f'{MOLECULE} spin=3 pbc="F F F"')),
        Case("3", "`total_charge=-2`", predict, commented("total_charge=-2")),
        Case("3", "`units=bohr`", predict, commented("units=bohr")),
        Case("3", "two frames where one is meant", check, two_frames),
        Case("4", "charge 1, multiplicity 2", [*predict, "--charge", "1", "--multiplicity", "2"], water),
        Case("4", "multiplicity 3", [*predict, "--multiplicity", "3"], water),
        Case("4", "export with charge 2", ["export", model, "molecule.xyz", "out.pt", "--charge", "2"], water),
        Case("5", "H2 of a water model", predict, geometry("molecule.xyz", "H 0.0 0.0 0.0\nH 0.0 0.0 0.74\n")),
        Case("5", "a lone oxygen atom", predict, geometry("molecule.xyz", "O 0.0 0.0 0.0\n")),
        Case("5", "an O-H of 3 angstrom, --strict", [*predict, "--strict"], geometry("molecule.xyz", stretched)),
        Case("7", "an unknown isotope `Q`", predict, geometry("molecule.xyz", WATER.replace("H", "Q"))),
        Case("9", "HI with def2-SVP", check, configuration("H 0.0 0.0 0.0\nI 0.0 0.0 1.61\n", "HF", "def2-SVP")),
        Case("9", "one atom, normal modes", check, configuration("He 0.0 0.0 0.0\n", "HF", "def2-SVP")),
        Case("9", "an ASCII terminal", predict, water, {"PYTHONIOENCODING": "ascii"}),
        Case("10", "a byte-order mark", predict, geometry("molecule.xyz", WATER, bom=True)),
        Case("11", "gradients for forces", imported, labels(negative)),
        Case("11", "forces in hartree/bohr", imported, labels(in_bohr)),
        Case("11", "energies in eV", imported, labels(in_ev)),
        Case("11", "energies relative to their mean", imported, labels(relative)),
        Case("11", "forces with a sum", imported, labels(dragged)),
        Case("11", "turned copies of other energy", imported, labels(turned)),
        Case("11", "sound labels, for comparison", imported, labels(lambda frames: None)),
    ]


def answer(case: Case, folder: Path) -> tuple[int, str]:
    """Exit code of a case, and the lines of what it printed that say why."""
    folder.mkdir(parents=True)
    case.prepare(folder)
    program = str(Path(sys.executable).parent / "densnet")
    done = subprocess.run(
        [program, *case.command],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, **(case.environment or {})},
    )
    told = done.stderr if done.returncode else done.stdout
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    return done.returncode, " ".join(lines if done.returncode else lines[-3:])


def main(model: Path, folder: Path) -> None:
    print("| case | input | command | exit code | what it says |\n|---|---|---|---|---|")
    for number, case in enumerate(cases(str(model))):
        code, told = answer(case, folder / f"{number:02d}")
        shown = "densnet " + " ".join(case.command).replace(str(model), "W")
        told = told.replace(f"{folder / f'{number:02d}'}/", "").replace(str(model), "W").replace("|", "/")
        told = told if len(told) <= LONGEST else f"{told[:LONGEST].rsplit(' ', 1)[0]} ..."
        print(f"| {case.kind} | {case.title} | `{shown}` | {code} | {told} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(sys.argv[1]).resolve(), Path(sys.argv[2] if len(sys.argv) == 3 else temporary).resolve() / "cases")
