"""DenSNet: machine-learned molecular simulation with the electron density at its centre.

The folders are the stages the data flows through; a module imports only from folders above its own:
``errors``, ``units``, ``elements``, ``options``, ``fragments``, ``structures``, ``plugins``, ``basis``, ``density``,
``reference``, ``stores``, ``graphs``, ``datasets``, ``models``, ``potentials``, ``training``, ``md``, ``spectra``,
``sampling``, ``testing``, ``config``, ``workflow``, ``cli``.
Inside the package every quantity is in Hartree atomic units.
"""

__version__ = "0.1.0"
