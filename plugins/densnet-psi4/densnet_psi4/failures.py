"""What a failure of Psi4 means to the user: wrong input, too few resources, no convergence, or worth one more try."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from typing import Final

from densnet_core.errors import ConvergenceError, DenSNetError, InputError, PluginError, ResourceError, TransientError

# Type of the exception inside Psi4 and its message, as one text; the first that matches decides.
_MEANINGS: Final[tuple[tuple[str, type[DenSNetError], str], ...]] = (
    (
        r"SCFConvergenceError|Could not converge SCF|iterations? did not converge",
        ConvergenceError,
        "Check geometry, charge and multiplicity, or raise max_cycle.",
    ),
    (
        r"MemoryError|bad_alloc|[Nn]ot enough memory|memory exceeded|[Cc]annot allocate|failed to map segment",
        ResourceError,
        "Raise max_memory_mb (and memory_limit_mb if it is set), or use density fitting.",
    ),
    (
        r"No space left|Disk quota|Errno 28|Errno 122",
        ResourceError,
        "Make room, or name a larger folder: scratch in [reference.options].",
    ),
    (
        r"PSIO|Input/output error|Stale file handle|Errno 5\b|Resource temporarily unavailable",
        TransientError,
        "If it comes again, check the folder for temporary files (scratch in [reference.options]).",
    ),
    (
        r"BasisSetNotFound|basis set .* not found|Unable to find basis",
        InputError,
        "Choose a basis that covers all elements.",
    ),
    (
        r"angular momentum|max_am|libint",
        InputError,
        "This Psi4 was built for lower angular momenta; choose a smaller basis.",
    ),
    (
        r"ModuleNotFoundError|ImportError",
        PluginError,
        "The interpreter found cannot import Psi4; name the right one: command or python in [reference.options].",
    ),
    (
        r"Error setting options|is not a valid choice|Option .* (is )?not recognized",
        PluginError,
        "This version of Psi4 does not know an option that DenSNet sets; please report it with the version.",
    ),
    (
        r"ValidationError|Inconsistent charge/multiplicity|Could not find .* functional",
        InputError,
        "Check method, basis, charge and multiplicity.",
    ),
)


def error_of_psi4(label: str, error: Mapping[str, str]) -> DenSNetError:
    """From the record of the exception that ended a job: an error with what happened and what to do."""
    text = f"{error['type']}: {error['message']}"
    for pattern, kind, advice in _MEANINGS:
        if re.search(pattern, text):
            return kind(f"{label}: {_first_lines(text)} {advice}")
    return DenSNetError(f"{label}: Psi4 failed unexpectedly. {_first_lines(text)}\n{error.get('traceback', '')}")


def error_of_death(label: str, code: int, printed: str) -> DenSNetError:
    """From the exit code of a process that left no answer, and the last lines it printed."""
    lines = "\n".join(printed.strip().splitlines()[-8:])
    if re.search(r"bad_alloc|[Cc]annot allocate|[Nn]ot enough memory", printed) or code == -signal.SIGKILL:
        return ResourceError(
            f"{label}: Psi4 was killed or ran out of memory. Lower max_memory_mb to what the machine has, raise "
            f"memory_limit_mb if it is set, or use fewer workers.\n{lines}"
        )
    ended = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return TransientError(
        f"{label}: the process of Psi4 ended with {ended} and without an answer. If it comes again, run this frame "
        f"alone and look at what it printed:\n{lines}"
    )


def _first_lines(text: str) -> str:
    """The message without the blank lines and frames that Psi4 puts around it."""
    lines = [line.strip() for line in text.splitlines() if line.strip(" !*-=")]
    short = " ".join(lines)[:600]
    return short if short.endswith(".") else f"{short}."
