"""The starter file of ``densnet init`` says everything that the schema and the default components know."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from densnet_core.config import Chosen, Config, parse_config, select
from densnet_core.config.starter import starter
from densnet_core.plugins.manager import Manager

PATH = Path("/data/molecule.toml")


@pytest.fixture(scope="module")
def text() -> str:
    return starter("molecule")


def models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        for choice in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(choice, type) and issubclass(choice, BaseModel):
                yield from models(choice)


def uncommented(text: str) -> str:
    """The file as it is after a user has taken the # from every example."""
    return re.sub(r"^# (?=\[[a-z.A-Z_]+\]$|[a-z_]+ = )", "", text, flags=re.MULTILINE)


def test_it_is_a_valid_configuration_of_defaults(text):
    config = parse_config(text, PATH)
    assert config.system.geometry == PATH.parent / "molecule.xyz"
    plain = f"""
        schema = 1
        [system]
        geometry = "molecule.xyz"
        [reference]
        method = "{config.reference.method}"
        basis = "{config.reference.basis}"
        [basis]
        name = "{config.basis.name}"
    """
    expected = parse_config(plain, PATH)
    assert select(config) == select(expected)
    tables = ("sampling", "executor", "reference", "density", "energy", "md")
    for section in Config.model_fields:
        if section not in tables:
            assert getattr(config, section) == getattr(expected, section)
    for section in ("training", "spectrum"):
        assert getattr(config, section) == type(getattr(config, section))()


def test_every_key_of_the_schema_and_of_the_default_components_is_in_it_with_its_description(text):
    config = parse_config(text, PATH)
    chosen = vars(select(config)).values()
    every = [*models(Config), *(type(one.options) for one in chosen if isinstance(one, Chosen))]
    squeezed = re.sub(r"\s+#?\s*", " ", text)
    n_fields = 0
    for model in every:
        for name, field in model.model_fields.items():
            n_fields += 1
            key = field.alias or name
            assert re.search(rf"^(# )?({key} = |\[([a-z_]+\.)*{key}[.\]])", text, re.MULTILINE) or (
                key.endswith("options") and not text.count(f"[{key}]")
            ), key
            if field.description and not key.endswith("options"):
                assert re.sub(r"\s+", " ", field.description) in squeezed, key
    assert n_fields > 60


def test_its_examples_are_valid_too(text):
    every_key = uncommented(text)
    assert every_key.count("\n# ") < text.count("\n# ")
    before, header, basis = every_key.partition("[basis]")
    # the three ways to name a basis exclude each other
    one_basis = re.sub(r"^(name|file) = .*\n", "", basis, count=2, flags=re.MULTILINE)
    one_molecule = re.sub(r"^smiles = .*\n", "", before, count=1, flags=re.MULTILINE)  # as do geometry and smiles
    # as do [data] and [system] with [reference]
    made = re.sub(r"^\[data\]\n(?:.+\n)*", "", one_molecule, count=1, flags=re.MULTILINE)
    there = re.sub(r"^\[(system|sampling.*|reference.*)\]\n(?:.+\n)*", "", one_molecule, flags=re.MULTILINE)
    data = parse_config(there + header + one_basis, PATH).data
    assert data is not None
    assert (len(data.stores), len(data.files)) == (2, 1)
    config = parse_config(made + header + one_basis, PATH)
    select(config)
    assert config.spectrum.experiment is not None
    assert config.reference.dispersion is not None
    assert config.sampling.start is not None
    assert config.sampling.select is not None
    assert config.basis.even_tempered is not None
    assert config.output is not None


def test_it_needs_the_default_components():
    from densnet_core.errors import ConfigError

    with pytest.raises(ConfigError, match="pyscf"):
        starter("molecule", Manager(environment={"DENSNET_PLUGINS": ""}))


@pytest.mark.parametrize(
    ("word", "other"),
    [
        ('backend = "pyscf"', 'backend = "psi4"'),
        ('# backbone = "gaunt"', 'backbone = "e3nn"'),
        ('model = "shared"', 'model = "equivariant"'),
        ('engine = "torch"', 'engine = "openmm"'),
    ],
)
def test_one_word_names_another_component(text, word, other):
    """Its options are others; those of the first are comments, which say its defaults."""
    assert text.count(word) >= 1
    chosen = select(parse_config(text.replace(word, other), PATH))
    name = other.split('"')[1]
    assert name in {one.component.name for one in vars(chosen).values() if isinstance(one, Chosen)}
    assert "# grid_level = " in text
