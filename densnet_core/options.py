"""Validated tables of options: the base of every pydantic model that a configuration file is read into.

Light to import (pydantic only): models of options live in modules that the command line imports at start-up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Strict, ValidationError, ValidationInfo
from pydantic.fields import FieldInfo

from densnet_core.errors import ConfigError, nearest


class Options(BaseModel):
    """Base of a table of options.

    Unknown keys are refused, values keep their type (``"3"`` is not a number, ``true`` is not 1), numbers are finite
    and an instance cannot be changed. Give every field a description that names its unit: the starter file, the JSON
    schema and the messages are made from it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True)


Table = TypeVar("Table", bound=BaseModel)


def _not_empty(value: object) -> object:
    if value == "":
        raise ValueError("expected a path, found an empty string")
    return value


def _relative_to_file(path: Path, info: ValidationInfo) -> Path:
    base = (info.context or {}).get("base")
    return path.expanduser() if base is None else Path(base, path.expanduser())


FilePath = Annotated[Path, Strict(False), BeforeValidator(_not_empty), AfterValidator(_relative_to_file)]
"""A path in a configuration file; a relative one is meant from the folder of that file."""


def is_word(path: Path) -> bool:
    """Whether a path can be a name instead: one part without a suffix."""
    return len(path.parts) == 1 and not path.suffix and path.name != ".."


def _beside_file(path: Path, info: ValidationInfo) -> Path:
    beside = _relative_to_file(path, info)
    if is_word(path) and not beside.is_file() and not (beside / "model.json").is_file():
        return path
    return beside.absolute()


ModelPath = Annotated[Path, Strict(False), BeforeValidator(_not_empty), AfterValidator(_beside_file)]
"""As ``FilePath``, absolute; or a plain word that is no model there: the name of a shipped one."""


def validate(
    model: type[Table],
    table: Mapping[str, Any],
    prefix: str = "",
    base: Path | None = None,
    also_known: Iterable[str] = (),
) -> Table:
    """An instance of ``model`` from a table, or a ``ConfigError`` that lists everything wrong with it.

    Parameters
    ----------
    model : type
        The pydantic model.
    table : mapping
        As read from TOML.
    prefix : str
        What stands before the key in a message, for example ``"water.toml: reference.options."``.
    base : Path or None
        Folder that relative paths are meant from; None leaves them as they are.
    also_known : iterable of str
        Keys that may stand in the same table but belong to another model; offered as suggestions.

    Raises
    ------
    ConfigError
        One line per problem, with the key, what was found and what was expected.
    """
    try:
        return model.model_validate(dict(table), context={"base": base})
    except ValidationError as error:
        problems = [_describe(problem, model, tuple(also_known)) for problem in error.errors(include_url=False)]
    raise ConfigError("\n".join(prefix + problem for problem in problems))


def _describe(problem: Any, model: type[BaseModel], also_known: tuple[str, ...]) -> str:
    location = problem["loc"]
    key = _dotted(location)
    if problem["type"] == "extra_forbidden":
        known = [*_fields(model, location[:-1]), *(also_known if len(location) == 1 else ())]
        return f"{key}: unknown key. {nearest(str(location[-1]), known)}"
    if problem["type"] == "missing":
        meaning = _meaning(_fields(model, location[:-1]).get(str(location[-1])))
        return f"{key}: missing ({meaning})" if meaning else f"{key}: missing"
    message = problem["msg"].removeprefix("Value error, ").rstrip(".")
    if problem["type"] in ("value_error", "assertion_error"):
        return f"{key}: {message}." if key else f"{message}."
    return f"{key}: {message[:1].lower()}{message[1:]}, found {problem['input']!r}."


def _dotted(location: tuple[str | int, ...]) -> str:
    text = ""
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")


def _fields(model: type[BaseModel], location: tuple[str | int, ...]) -> dict[str, FieldInfo]:
    """The keys that the table at ``location`` may have; empty if it is not a model's."""
    current: Any = model
    for step in location:
        field = _keys(current).get(str(step))
        if field is not None:
            current = _without_none(field.annotation)
        else:  # dict[str, X] or list[X]
            current = _without_none(next(reversed(get_args(current)), None))
    return _keys(current)


def _keys(annotation: Any) -> dict[str, FieldInfo]:
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return {}
    return {field.alias or name: field for name, field in annotation.model_fields.items()}


def _meaning(field: FieldInfo | None) -> str:
    """Description of a field, or of the table that it holds."""
    if field is None:
        return ""
    if field.description or not _keys(field.annotation):
        return field.description or ""
    return (getattr(field.annotation, "__doc__", None) or "").partition("\n")[0]


def _without_none(annotation: Any) -> Any:
    choices = [choice for choice in get_args(annotation) if choice is not type(None)]
    return choices[0] if type(None) in get_args(annotation) and len(choices) == 1 else annotation
