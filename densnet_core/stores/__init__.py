"""Where results are kept: Zarr stores written under a commit protocol, model packages, imported files.

``commit``, ``records`` and ``durable`` are the protocol, ``table`` the frames under it, ``reference`` the store of
labelled frames with its fits, ``trajectory`` that of molecular dynamics; ``verify`` checks and ``repair`` mends both,
``merge`` joins stores, ``splits`` says what is learned from. ``importing``, ``extxyz``, ``qcschema`` and ``exporting``
are the files of others, ``models`` the weights on disk.
"""
