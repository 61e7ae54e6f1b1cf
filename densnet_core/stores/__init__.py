"""Where results are kept: Zarr stores written under a commit protocol, model packages, imported files.

``commit`` is the protocol, ``table`` the frames under it, ``reference`` the store of labelled frames with its fits,
``trajectory`` that of molecular dynamics, ``verify`` the check of both; ``models`` are weights on disk, ``importing``
reads archives of others.
"""
