"""Options that several verbs have."""

from typing import Annotated

import typer

Charge = Annotated[int | None, typer.Option(help="Total charge, e, where the file does not say.  [default: 0]")]
Multiplicity = Annotated[
    int | None, typer.Option(help="Spin multiplicity 2S+1, where the file does not say.  [default: 1]")
]
