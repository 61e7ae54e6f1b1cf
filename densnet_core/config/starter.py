"""Writes the commented starter file of ``densnet init`` from the schema, so that it cannot fall behind it."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from densnet_core.config.load import Selection, parse_config, select
from densnet_core.config.schema import Config
from densnet_core.options import Options
from densnet_core.plugins.manager import Manager

_WIDTH = 120
_COLUMN = 30
DENSITY_BASIS: Final = "densnet-m"


def starter(name: str, manager: Manager | None = None, **given: Any) -> str:
    """Text of a configuration file with every key, its meaning and its default.

    Parameters
    ----------
    name : str
        Stem of the file; the geometry is ``<name>.xyz`` beside it.
    manager : Manager or None
        Where the default components are looked up, whose own options are written too.
    **given
        Values of keys by section and key, ``system__charge=-1``; with ``system__smiles`` there is no geometry.

    Raises
    ------
    ConfigError
        A default component is not installed.
    """
    values = {"reference.backend": "pyscf", "basis.name": DENSITY_BASIS}
    values |= {key.replace("__", "."): value for key, value in given.items()}
    if "system.smiles" not in values:
        values.setdefault("system.geometry", f"{name}.xyz")
    skeleton = "\n".join(_section(Config, (), values, {}))
    selection = select(parse_config(skeleton, Path(f"{name}.toml")), manager)
    lines = [
        f"# DenSNet: from a molecule to its infrared spectrum.   densnet run {name}.toml",
        "# Keys with a leading # are optional; what they show is the default, or an example.",
        "",
        *_section(Config, (), values, _component_options(selection)),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _component_options(selection: Selection) -> dict[str, tuple[str, Options]]:
    """From the path of an options table to the component's name and its default options."""
    chosen = {
        "sampling": selection.sampler,
        "executor": selection.executor,
        "reference.options": selection.backend,
        "density.options": selection.density_model,
        "density.backbone_options": selection.density_backbone,
        "energy.options": selection.energy_model,
        "energy.backbone_options": selection.energy_backbone,
        "md.options": selection.engine,
    }
    return {path: (one.component.name, one.options) for path, one in chosen.items() if one is not None}


def _section(
    model: type[BaseModel],
    path: tuple[str, ...],
    values: Mapping[str, Any],
    components: Mapping[str, tuple[str, Options]],
) -> Iterator[str]:
    """A table: plain keys first, then the tables inside it, as TOML wants it."""
    tables = []
    for key, field in _fields(model):
        if key in ("backbone", "backbone_options") and ".".join((*path, "backbone_options")) not in components:
            continue  # the model takes none
        if _is_table(field):
            tables.append((key, field))
        else:
            yield from _entry(key, field, values.get(".".join((*path, key))))
    if ".".join(path) in components:
        name, options = components[".".join(path)]
        yield f"# The options of {name!r}:"
        yield from _options(options)
    for key, field in tables:
        inner = (*path, key)
        header = ".".join(inner)
        nested = _model(field)
        if header in components and nested is None:
            name, options = components[header]
            if type(options).model_fields:
                # commented out, so that another component can be named in one word
                yield from ("", f"# The options of {name!r}.", f"[{header}]", *_options(options, commented=True))
        elif nested is not None and field.default is None and not _has_value(header, values):
            # an optional table: an example, commented out
            yield from ("", *_comment(_summary(nested)), f"# [{header}]")
            for line in _section(nested, inner, values, components):
                yield line if line.startswith("#") or not line else f"# {line}"
        elif nested is not None:
            yield from ("", *_comment(_summary(nested)), f"[{header}]")
            yield from _section(nested, inner, values, components)
        elif field.examples:
            yield from ("", *_comment(field.description or ""), *_example_tables(header, field.examples[0]))


def _fields(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        yield field.alias or name, field


def _options(options: Options, commented: bool = False) -> Iterator[str]:
    for key, field in _fields(type(options)):
        yield from _entry(key, field, None, commented)


def _entry(key: str, field: FieldInfo, value: Any, commented: bool = False) -> Iterator[str]:
    if value is None:
        value = field.examples[0] if field.is_required() and field.examples else field.default
    # TOML has no null: a key whose default is "absent" is shown with an example.
    absent = value is None or value == {} or (value == [] and bool(field.examples))
    if absent:
        value = field.examples[0] if field.examples else "..."
    setting = f"{'# ' if absent or commented else ''}{key} = {_toml(value)}"
    comment = f"{setting:<{_COLUMN}} # {field.description}" if field.description else setting
    if len(comment) <= _WIDTH:
        yield comment
    else:
        yield from (*_comment(field.description or ""), setting)


def _example_tables(header: str, example: Mapping[str, Any]) -> Iterator[str]:
    plain = {key: value for key, value in example.items() if not isinstance(value, Mapping)}
    if plain:
        yield from (f"# [{header}]", *(f"# {key} = {_toml(value)}" for key, value in plain.items()))
    for key, rows in example.items():
        if key in plain:
            continue
        yield f"# [{header}.{key}]"
        for name, row in rows.items():
            yield f"# {name} = {_toml(row)}"


def _has_value(header: str, values: Mapping[str, Any]) -> bool:
    return any(path.startswith(f"{header}.") for path in values)


def _is_table(field: FieldInfo) -> bool:
    if _model(field) is not None:
        return True
    example = field.examples[0] if field.examples else {}
    inline = isinstance(example, Mapping) and example and not any(isinstance(row, Mapping) for row in example.values())
    return "dict[" in str(field.annotation) and not inline


def _model(field: FieldInfo) -> type[BaseModel] | None:
    choices = [field.annotation, *getattr(field.annotation, "__args__", ())]
    return next((c for c in choices if isinstance(c, type) and issubclass(c, BaseModel)), None)


def _summary(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ")


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if value is PydanticUndefined:
        raise TypeError("a required field of the schema has no example")
    # JSON writes strings, numbers and booleans as TOML does.
    return json.dumps(str(value) if isinstance(value, Path) else value)


def _key(key: Any) -> str:
    text = str(key)
    return text if text.replace("_", "").replace("-", "").isalnum() else json.dumps(text)
