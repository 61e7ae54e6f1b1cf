"""Model packages and checkpoints: round trips, damage, and a pickle that would run a program."""

import json
import os
import pickle
import shutil
import struct
import zipfile
from pathlib import Path

import pytest
import torch

from densnet_core.errors import DataError, InputError
from densnet_core.stores import exchange
from densnet_core.stores.models import load_checkpoint, load_model, save_checkpoint, save_model

DOCUMENT = {
    "config": {"layers": 2, "cutoff": 5.0},
    "basis": {"name": "b"},
    "units": "hartree, bohr",
    "provenance": {"torch": "2.9.1"},
    "metrics": {"nmae": 0.123456789012345678},
}


def tensors() -> dict[str, torch.Tensor]:
    shared = torch.arange(12.0, dtype=torch.float64).reshape(3, 4)
    return {"a.weight": shared.T, "b": shared, "c": torch.tensor(3), "d": torch.zeros(0, 5), "half": shared.half()}


def assert_same(found: dict[str, torch.Tensor], sent: dict[str, torch.Tensor]) -> None:
    assert found.keys() == sent.keys()
    for name, tensor in sent.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


class Attack:
    """A pickle that creates a file when it is loaded."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.system, (f"touch '{self.victim}'",)


@pytest.fixture(params=["model", "model.zip"])
def package(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / str(request.param)
    save_model(path, DOCUMENT, tensors())
    return path


def test_a_package_comes_back_equal_and_can_be_replaced(package: Path) -> None:
    document, weights = load_model(package)
    assert document == DOCUMENT
    assert_same(weights, tensors())
    save_model(package, {**DOCUMENT, "metrics": {}}, {"only": torch.ones(2)})
    document, weights = load_model(package)
    assert document["metrics"] == {}
    assert_same(weights, {"only": torch.ones(2)})
    assert os.listdir(package.parent) == [package.name]


def test_a_folder_holds_plain_json_and_safetensors(tmp_path: Path) -> None:
    save_model(tmp_path / "m", DOCUMENT, tensors())
    assert sorted(os.listdir(tmp_path / "m")) == ["model.json", "weights.safetensors"]
    record = json.loads((tmp_path / "m" / "model.json").read_text())
    assert (record["format"], record["format_version"]) == ("densnet-model", 1)
    (tmp_path / "m" / "model.pt").write_bytes(b"\x80")  # an export beside them is not read
    assert load_model(tmp_path / "m")[0] == DOCUMENT


def test_the_old_model_is_found_between_the_two_renames_of_a_simple_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m"
    save_model(path, DOCUMENT, {"x": torch.ones(1)})
    monkeypatch.setattr(exchange, "exchange", lambda *_: False)
    rename = Path.rename

    def dying_rename(self: Path, target: Path) -> Path:
        if target == path:
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", dying_rename)
        with pytest.raises(KeyboardInterrupt):
            save_model(path, DOCUMENT, {"x": torch.zeros(1)})
    assert not path.exists()
    assert_same(load_model(path)[1], {"x": torch.ones(1)})
    save_model(path, DOCUMENT, {"x": torch.zeros(1)})
    save_model(path, DOCUMENT, {"x": torch.full((1,), 2.0)})
    assert_same(load_model(path)[1], {"x": torch.full((1,), 2.0)})
    assert os.listdir(tmp_path) == ["m"]


def test_a_malicious_pickle_is_refused_and_never_run(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    attack = Attack(victim)
    pickle.loads(pickle.dumps(attack))  # noqa: S301 - proof that the payload works
    assert victim.exists()
    victim.unlink()

    plain, saved, legacy = tmp_path / "plain.pkl", tmp_path / "saved.pt", tmp_path / "legacy.pt"
    plain.write_bytes(pickle.dumps(attack))
    torch.save({"weight": attack}, saved)
    torch.save({"weight": attack}, legacy, _use_new_zipfile_serialization=False)
    for file in (plain, saved, legacy):
        with pytest.raises(DataError, match="DenSNet never loads"):
            load_model(file)
        with pytest.raises(DataError, match="pickle"):
            load_checkpoint(file)
        folder = tmp_path / f"as-weights-{file.stem}"
        save_model(folder, DOCUMENT, tensors())
        shutil.copy(file, folder / "weights.safetensors")
        with pytest.raises(DataError, match=r"pickle or a torch\.save file"):
            load_model(folder)
        shutil.copy(file, folder / "model.json")
        with pytest.raises(DataError, match="is not JSON"):
            load_model(folder)
        package = tmp_path / f"{file.stem}.zip"
        with zipfile.ZipFile(package, "w") as archive:
            archive.writestr("model.json", json.dumps(DOCUMENT))
            archive.write(file, "weights.pt")
        with pytest.raises(DataError, match="DenSNet never loads"):
            load_model(package)
    assert not victim.exists()


def test_hostile_zip_files_are_refused(tmp_path: Path) -> None:
    save_model(tmp_path / "good.zip", DOCUMENT, tensors())
    with zipfile.ZipFile(tmp_path / "good.zip") as archive:
        good = {name: archive.read(name) for name in archive.namelist()}
    bad = tmp_path / "bad.zip"

    def rewrite(contents: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
        with zipfile.ZipFile(bad, "w", compression) as archive:
            for name, data in contents.items():
                archive.writestr(name, data)

    for name in ("../outside", "/tmp/outside", "nested/model.json"):
        rewrite({**good, name: b"x"})
        with pytest.raises(DataError, match=f"only; found '{name}'"):
            load_model(bad)
    rewrite({**good, "weights.safetensors": bytes(50_000_000)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(DataError, match="claims 50000000 bytes"):
        load_model(bad)
    rewrite({"model.json": good["model.json"]})
    with pytest.raises(DataError, match=r"it has no weights\.safetensors"):
        load_model(bad)
    data = bytearray((tmp_path / "good.zip").read_bytes())
    data[len(data) // 2] ^= 1
    bad.write_bytes(data)
    with pytest.raises(DataError, match="damaged"):
        load_model(bad)
    bad.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="is neither"):
        load_model(bad)


def test_damaged_packages_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m"
    save_model(path, DOCUMENT, tensors())
    weights, text = (path / "weights.safetensors").read_bytes(), (path / "model.json").read_text()
    for damaged in (b"", weights[:5], weights[: len(weights) // 2], weights[:-1], struct.pack("<Q", 2**60) + weights):
        (path / "weights.safetensors").write_bytes(damaged)
        with pytest.raises(DataError, match="not a whole safetensors file"):
            load_model(path)
    flipped = bytearray(weights)
    flipped[-1] ^= 1
    (path / "weights.safetensors").write_bytes(flipped)
    with pytest.raises(DataError, match="another SHA-256"):
        load_model(path)
    (path / "weights.safetensors").write_bytes(weights)
    for key in ("config", "weights", "units"):
        record = json.loads(text)
        del record[key]
        (path / "model.json").write_text(json.dumps(record))
        with pytest.raises(DataError, match=f"lacks {key}"):
            load_model(path)
    for key, value, message in (
        ("format_version", 2, "format version 2"),
        ("format", "other", "not of a DenSNet model"),
        ("weights", None, "another SHA-256"),
    ):
        (path / "model.json").write_text(json.dumps({**json.loads(text), key: value}))
        with pytest.raises(DataError, match=message):
            load_model(path)
    (path / "model.json").write_text("[1]")
    with pytest.raises(DataError, match="must hold a table"):
        load_model(path)
    (path / "model.json").unlink()
    with pytest.raises(DataError, match=r"has no model\.json"):
        load_model(path)
    with pytest.raises(DataError, match="no model at"):
        load_model(tmp_path / "nothing")


def test_what_cannot_be_saved_is_said_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lacks config, basis"):
        save_model(tmp_path / "m", {"units": "", "provenance": {}, "metrics": {}}, {})
    with pytest.raises(InputError, match="format"):
        save_model(tmp_path / "m", {**DOCUMENT, "format": 1}, {})
    with pytest.raises(InputError, match="plain JSON"):
        save_model(tmp_path / "m", {**DOCUMENT, "metrics": {"nmae": float("nan")}}, {})
    assert os.listdir(tmp_path) == []
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="other things than a model"):
        save_model(tmp_path / "other", DOCUMENT, {})


def test_checkpoints_come_back_equal(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "last.safetensors"
    meta = {"epoch": 3, "best": 1e-3, "names": ["a"]}
    save_checkpoint(path, {"x": torch.zeros(1)}, {})
    save_checkpoint(path, tensors(), meta)
    state, found = load_checkpoint(path)
    assert found == meta
    assert_same(state, tensors())
    assert os.listdir(path.parent) == [path.name]
    data = path.read_bytes()
    for damaged in (b"", data[:7], data[:-1]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="not a whole safetensors file"):
            load_checkpoint(path)
    save_model(tmp_path / "m", DOCUMENT, tensors())
    with pytest.raises(DataError, match="not a checkpoint"):
        load_checkpoint(tmp_path / "m" / "weights.safetensors")
    with pytest.raises(DataError, match="cannot be read"):
        load_checkpoint(tmp_path / "nothing")
    with pytest.raises(InputError, match="plain JSON"):
        save_checkpoint(path, {}, {"x": torch.zeros(1)})


def test_tensors_are_copied_not_referenced(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    save_checkpoint(tmp_path / "c", {"w": weight}, {})
    with torch.no_grad():
        weight.zero_()
    assert load_checkpoint(tmp_path / "c")[0]["w"].tolist() == [1.0, 1.0, 1.0]
