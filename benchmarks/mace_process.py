"""A process with mace-torch in an interpreter of its own, which does what it is asked for and then says so."""

from __future__ import annotations

import os
import subprocess

from measuring import ROOT


class Mace:
    """A program in ``benchmarks/`` that answers every line on its stdin by "ready" or "done".

    A call asks for one piece of its work.

    Parameters
    ----------
    python : str
        An interpreter that has mace-torch.
    program : str
        Name of the file.
    *arguments : str
    """

    def __init__(self, python: str, program: str, *arguments: str) -> None:
        environment = {**os.environ, "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}  # for the tables of its e3nn
        self.process = subprocess.Popen(
            [python, str(ROOT / "benchmarks" / program), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def ask(self, line: str) -> None:
        """Send a line and wait for the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        while (answer := self.process.stdout.readline()) not in ("ready\n", "done\n"):  # MACE says things of its own
            if not answer:
                raise SystemExit("The process of MACE ended.")

    def __call__(self) -> None:
        self.ask("call")
