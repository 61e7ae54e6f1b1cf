"""What the result of a stage depends on, as plain data: equal data mean that nothing has to be done."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from densnet_core.config import Chosen
from densnet_core.config.schema import TrainingSection
from densnet_core.options import is_word
from densnet_core.plugins.hookspecs import Record
from densnet_core.plugins.manager import Manager
from densnet_core.plugins.origin import Origin
from densnet_core.potentials.shipped import shipped_path
from densnet_core.stores.packages import read_package

CODE: Final = "code"
"""Where the data of a key say which code made a result."""
NEEDS: Final = "needs"
"""Where they hold the keys of the stages that it stands on."""


def plain(chosen: Chosen) -> dict[str, Any]:
    """A component with its options as plain data, defaults written out."""
    return {"name": chosen.component.name, **chosen.options.model_dump(mode="json")}


def code_of(record: Record, manager: Manager) -> dict[str, Any]:
    """Distribution and version of a component, stage or objective, and a hash of its files if it is being worked on.

    The core counts by its version alone: most edits of a checkout change no result of most stages, and what one does
    change ``--again`` makes anew.
    """
    return asdict(manager.origin(record))


def identity(chosen: Chosen, manager: Manager) -> dict[str, Any]:
    """A component as part of a key: options, digests of the files and stores that they name, and the code."""
    contents = {
        name: file_digest(value) for name, value in chosen.options if isinstance(value, Path) and value.exists()
    }
    own = {**plain(chosen), CODE: code_of(chosen.component, manager)}
    return {**own, "contents": contents} if contents else own


def file_digest(path: Path) -> str:
    """Digest of a file, or of the checksums of a store's frames."""
    files = [path] if path.is_file() else sorted((path / "frames" / "checksum").rglob("*"))
    digest = hashlib.sha256()
    for file in files:
        if file.is_file():
            digest.update(file.read_bytes())
    return digest.hexdigest()


def start_path(training: TrainingSection) -> Path | None:
    """Where the model to start from is; a plain word that is no model beside the configuration names a shipped one."""
    start = training.start
    return start if start is None or not is_word(start) else shipped_path(start.name)


def weights_digest(model: Path | None) -> str | None:
    """Digest of the weights of a model."""
    return None if model is None else hashlib.sha256(read_package(model)[1]).hexdigest()


def differences(before: Any, now: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Where two keys differ, in words: ``md.temperature: 300.0, now 350.0``."""
    if isinstance(before, dict) and isinstance(now, dict):
        if path[-1:] == (CODE,) and before != now:
            old, new = (Origin(**one) if set(one) == _ORIGIN else "other code" for one in (before, now))
            yield f"{old} is now {new}"
            return
        for name in dict.fromkeys((*before, *now)):
            yield from differences(before.get(name), now.get(name), (*path, name))
    elif before != now and path[:1] == (NEEDS,):
        yield f"{path[-1]} is another"
    elif before != now:
        yield f"{'.'.join(path)}: {_short(before)}, now {_short(now)}"


_ORIGIN: Final = {"distribution", "version", "content"}


def _short(value: Any) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
