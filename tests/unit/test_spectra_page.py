"""The spectrum as a page for the browser: complete, safe, and with the numbers of the record."""

import hashlib
import json
import re
from base64 import b64encode
from html.parser import HTMLParser

import numpy as np
import pytest

from densnet_core.errors import InputError, ResourceError
from densnet_core.spectra.assignment import assign
from densnet_core.spectra.bands import bands
from densnet_core.spectra.experiment import ExperimentalBands, Region
from densnet_core.spectra.export import spectrum_record
from densnet_core.spectra.harmonic import NormalModes
from densnet_core.spectra.infrared import Spectrum, SpectrumSettings
from densnet_core.spectra.lines import Conformer, HarmonicLines
from densnet_core.spectra.page import page, write_page
from densnet_core.structures import Structure

HOSTILE = "Nobody </script><img src=x onerror=alert(1)> & {{data}} \u2028"
GRID = np.linspace(0.0, 4500.0, 4501)
CURVE = 5.0 * np.exp(-0.5 * ((GRID - 3700.0) / 10.0) ** 2) + 1.0 * np.exp(-0.5 * ((GRID - 1600.0) / 10.0) ** 2)
REPLICAS = CURVE * np.array([[0.9], [1.1], [1.05], [0.95]])
SPECTRUM = Spectrum(GRID, CURVE, SpectrumSettings(301.5, "kinetic", 1.0, 0.5, 20001, 4, "gaussian", 10.0), REPLICAS)
WATER = Structure(np.array([8, 1, 1]), np.array([[0.0, 0.0, 0.22], [0.0, 1.43, -0.89], [0.0, -1.43, -0.89]]))
MODES = NormalModes(
    WATER, np.array([1609.0, 3691.0, 3790.0]), np.zeros((3, 3, 3)), np.ones(3), np.array([47.5, 2.3, 19.9])
)
MOTIONS = ("H-O-H bend", "O-H stretch in phase", "<i>O-H stretch</i>")
EMPTY = {"meta", "input", "br"}
"""Elements without an end tag."""


class Reader(HTMLParser):
    """Start tags with their attributes, the text of each script, all other text; refuses what is not nested."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.open, self.scripts, self.text, self.declaration = [], [], [], "", ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_decl(self, decl):
        self.declaration = decl

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif not self.open or self.open[-1] != "style":
            self.text += data

    def count(self, tag):
        return sum(name == tag for name, _ in self.tags)


def record(source="Shimanouchi, NIST WebBook", title="H2O, DenSNet on PBE/def2-SVP", assigned=True):
    compared = HarmonicLines(
        "pyscf, PBE/def2-SVP",
        (Conformer(MODES, MOTIONS, "a<b>/modes.json", 0.25), Conformer(MODES, MOTIONS, "c/modes.json", 0.75)),
        "given",
    )
    more = {
        "title": title,
        "range": {"lower_per_cm": 400.0, "upper_per_cm": 4000.0},
        "dynamics": {"energy_drift_mev_per_atom_per_ps": 1e-5, "warnings": [title]},
        "trajectories": [
            {"file": source, "weight_ratio": 1, "n_replicas": 4, "length_picosecond": 20, "temperature_kelvin": 300}
        ],
        "weights_from": "given",
    }  # fmt: skip
    regions = (Region(f"stretches {source}", 3500.0, 3900.0, 44.6, 44.6), Region("bend", 1500.0, 1700.0, None, 62.5))
    return {
        **spectrum_record(
            SPECTRUM,
            bands=bands(SPECTRUM),
            harmonic=HarmonicLines.of(MODES, "PBE/def2-SVP", MOTIONS),
            compared=[compared],
            assignment=assign(SPECTRUM, MODES.wavenumbers, MODES.intensities) if assigned else None,
            experiment=ExperimentalBands((3657.0, 1595.0, 3756.0), source, (2.9, 62.5, 41.7), regions),
        ),
        **more,
    }


def test_the_page_holds_the_record_to_the_last_digit():
    given = record()
    read = Reader(page(given))
    assert read.declaration == "DOCTYPE html"
    data, script = read.scripts
    assert json.loads(data) == json.loads(json.dumps(given))
    assert "getElementById" in script
    ids = {attributes["id"] for _, attributes in read.tags if "id" in attributes}
    assert set(re.findall(r'getElementById\("(\w+)"\)', script)) <= ids


def test_the_page_loads_nothing_and_runs_its_own_script_only():
    text = page(record())
    read = Reader(text)
    assert "http" not in text.replace('"http://www.w3.org/2000/svg"', "").replace("http-equiv", "")
    loading = {"src", "href", "action", "data", "srcset", "style"}
    assert not [tag for tag, attributes in read.tags if loading & set(attributes)]
    assert not [name for _, attributes in read.tags for name in attributes if name.startswith("on")]
    (policy,) = (a["content"] for _, a in read.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")
    style = text.partition("<style>")[2].partition("</style>")[0]
    for kind, own in (("script", read.scripts[1]), ("style", style)):
        assert f"{kind}-src 'sha256-{b64encode(hashlib.sha256(own.encode()).digest()).decode()}'" in policy


def test_text_from_files_stays_text():
    text = page(record(HOSTILE, HOSTILE))
    read = Reader(text)
    assert (read.count("script"), read.count("img"), read.count("i")) == (2, 0, 0)
    assert "<img" not in text
    assert json.loads(read.scripts[0])["experiment"]["source"] == HOSTILE
    # title twice, warning, source, region, trajectory
    assert read.text.count(HOSTILE) == 6
    assert "a<b>/modes.json" in read.text
    assert "<i>O-H stretch</i>" in read.text


def test_the_tables_have_the_bands_with_their_errors_and_what_moves():
    read = Reader(page(record()))
    text = " ".join(read.text.split())
    row = record()["assignment"]["rows"][0]
    shown = f"{row['intensity_km_per_mol']:.1f} \u00b1 {row['standard_error_km_per_mol']:.1f}"
    assert shown.startswith("25.1 \u00b1 1.")
    for part in (
        shown,
        "H-O-H bend",
        "301.5 K (kinetic, measured)",
        "0.5 fs (corrected for)",
        "20 ps of each replica",
        "10 cm\u22121 full width at half maximum",
        "c/modes.json: 0.750; weights: given",
        "42 %, 83 %",
        "O-H stretch in phase (conformer 2)",
    ):
        assert part in text, part
    places = [attributes for tag, attributes in read.tags if tag == "button" and "data-lower" in attributes]
    bend = next(one for one in places if float(one["data-lower"]) < 1600 < float(one["data-upper"]))
    assert float(bend["data-lower"]) >= 400.0
    bare = Reader(page(record(assigned=False)))
    assert "Assignment" not in bare.text
    assert "1600" in bare.text


def test_a_page_is_written_whole_or_not_at_all(tmp_path):
    write_page(tmp_path / "s.html", record())
    before = (tmp_path / "s.html").read_text(encoding="utf-8")
    with pytest.raises(InputError, match="not written"):
        write_page(tmp_path / "s.html", {**record(), "integrated_intensity_km_per_mol": float("nan")})
    assert (tmp_path / "s.html").read_text(encoding="utf-8") == before == page(record())
    with pytest.raises(ResourceError, match="cannot be written"):
        write_page(tmp_path / "missing" / "s.html", record())
