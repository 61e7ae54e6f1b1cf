"""The errors that DenSNet raises for something its user can mend. Every message says what to do.

At the command line a ``DenSNetError`` becomes one message and a non-zero exit; any other exception is a defect.
"""

import difflib
from collections.abc import Iterable


class DenSNetError(Exception):
    """Base of all errors caused by input, data or environment."""


class InputError(DenSNetError, ValueError):
    """The request cannot be carried out as it stands: an unknown name, a wrong shape, an impossible value."""


class ConfigError(InputError):
    """A configuration file is wrong."""


class DataError(DenSNetError):
    """A store, a model package or an imported file is damaged, incomplete or of an unknown format."""


class ResourceError(DenSNetError):
    """Memory, time or disk was not enough."""


class ConvergenceError(DenSNetError):
    """An iterative procedure (SCF, geometry optimisation) did not converge."""


class TransientError(DenSNetError):
    """A failure that may not come again; the runner tries once more."""


class PluginError(DenSNetError):
    """A plugin is missing, broken or made for another version of the core."""


class CodeChangedWarning(UserWarning):
    """A model is used with other versions of its networks than those that made it; its results may differ."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence with the names in ``known`` closest to ``name``, or all of them when none is close."""
    names = sorted(set(known))
    if not names:
        return "None is known."
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if close:
        return "Did you mean " + " or ".join(repr(c) for c in close) + "?"
    return "Known: " + ", ".join(names) + "."
