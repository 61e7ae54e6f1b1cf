"""A spectrum as one HTML file to look at in a browser, without a network: picture to zoom into, tables, settings.

The file holds the record of the JSON export. Text from files is escaped wherever it stands, and the page forbids the
browser to load anything and to run any script but its own (Content Security Policy, by hash).
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any, Final

from densnet_core.errors import InputError
from densnet_core.stores.exporting import writing

Record = Mapping[str, Any]

_INTENSITY: Final = "Intensity (km/mol)"
_WAVENUMBER: Final = "cm<sup>&minus;1</sup>"
_TEMPERATURES: Final = {"kinetic": "kinetic, measured", "nominal": "of the bath", "configurational": "measured"}


def write_page(path: Path, record: Record) -> None:
    """Write the page of a spectrum.

    Parameters
    ----------
    path : Path
        The HTML file.
    record : mapping
        What ``workflow.spectra.write_spectrum`` writes into spectrum.json.

    Raises
    ------
    ResourceError
        If the file cannot be written.
    """
    text = page(record)
    with writing(path) as out:
        out.write(text)


def page(record: Record) -> str:
    """The page of a spectrum as text; parameters as in ``write_page``."""
    script, style = _resource("page.js"), _resource("page.css")
    parts = {
        "title": escape(record["title"]),
        "warnings": "".join(f'<p class="warning">{escape(text)}</p>\n' for text in record["dynamics"]["warnings"]),
        "bands": _bands(record),
        "compared": _compared(record.get("compared", [])),
        "experiment": _experiment(record.get("experiment")),
        "settings": _settings(record),
        "data": _data(record),
        "style": style,
        "script": script,
        "style_hash": _hash(style),
        "script_hash": _hash(script),
    }
    # In one pass, so that what was put in is not searched for names again.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _resource("page.html"))


def _resource(name: str) -> str:
    return (resources.files("densnet_core.spectra") / "data" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _data(record: Record) -> str:
    """JSON that ends no script element, whatever its strings hold."""
    try:
        text = json.dumps(record, allow_nan=False, separators=(",", ":"))
    except ValueError as error:
        raise InputError(f"The page of the spectrum was not written: {error}.") from error
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """From cells that are HTML already."""
    header = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>\n" for row in rows)
    return f"<table>\n<thead><tr>{header}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>"


def _place(text: str, lower: float, upper: float) -> str:
    """A wavenumber that zooms to its band."""
    return f'<button type="button" data-lower="{lower:.1f}" data-upper="{upper:.1f}">{text}</button>'


def _with_error(value: float, error: float | None) -> str:
    return f"{value:.1f}" + ("" if error is None else f" ± {error:.1f}")


def _bands(record: Record) -> str:
    assignment = record.get("assignment")
    if assignment is None:
        rows = [[_band(band), f"{band['intensity_km_per_mol']:.1f}"] for band in record["bands"]]
        return _table([f"Band ({_WAVENUMBER})", _INTENSITY], rows)
    lines = record[assignment["lines_of"]]
    rows = [_row(row, [lines[mode] for mode in row["modes"]]) for row in assignment["rows"]]
    rest = assignment["rest"]
    elsewhere = ", ".join(_band(band) for band in rest["bands"])
    intensity = _with_error(rest["intensity_km_per_mol"], rest["standard_error_km_per_mol"])
    rows.append([elsewhere, intensity, "", "", "rest: of no fundamental"])
    of = record.get(f"{assignment['lines_of']}_of")
    head = [
        f"Band ({_WAVENUMBER})",
        _INTENSITY,
        f"Harmonic{f', {escape(of)}' if of else ''} ({_WAVENUMBER}; km/mol)",
        "Of harmonic",
        "Assignment",
    ]
    note = "" if rest["standard_error_km_per_mol"] is None else "± is the standard error over replicas. "
    return (
        _table(head, rows)
        + f'\n<p class="small">{note}All bands of a line count, the main one in bold; intensities are integrals.</p>'
    )


def _band(band: Record) -> str:
    return _place(f"{band['position_per_cm']:.0f}", band["lower_per_cm"], band["upper_per_cm"])


def _row(row: Record, lines: Sequence[Record]) -> list[str]:
    main = row["position_per_cm"]
    places = [f"<b>{_band(b)}</b>" if b["position_per_cm"] == main else _band(b) for b in row["bands"]]
    wavenumbers = ", ".join(dict.fromkeys(f"{line['wavenumber_per_cm']:.0f}" for line in lines))
    ratio = row["intensity_ratio"]
    return [
        ", ".join(places) or "not found",
        _with_error(row["intensity_km_per_mol"], row["standard_error_km_per_mol"]) if places else "",
        f"{wavenumbers}; {row['harmonic_intensity_km_per_mol']:.1f}",
        "" if ratio is None or not places else f"{ratio:.2f}",
        "<br>".join(_motions(lines)),
    ]


def _motions(lines: Sequence[Record]) -> list[str]:
    """Each motion once, with the conformers that have it."""
    found: dict[str, list[str]] = {}
    for line in lines:
        if "motion" in line:
            found.setdefault(line["motion"], []).append(str(line.get("conformer", "")))
    return [f"{escape(motion)}{_conformers(which)}" for motion, which in found.items()]


def _conformers(which: Sequence[str]) -> str:
    named = list(dict.fromkeys(one for one in which if one))
    return f" (conformer{'s' if len(named) > 1 else ''} {', '.join(named)})" if named else ""


def _compared(sources: Sequence[Record]) -> str:
    """Lines of other sources, each conformer's together."""
    if not sources:
        return ""
    parts = ["<h2>Harmonic lines compared with</h2>"]
    for source in sources:
        names = [
            escape(one["file"]) + (f": {one['weight_ratio']:.3f}" if len(source["conformers"]) > 1 else "")
            for one in source["conformers"]
        ]
        weights = f"; weights: {escape(source['weights_from'])}" if source["weights_from"] else ""
        parts.append(f'<h3>{escape(source["of"])}</h3>\n<p class="small">{", ".join(names)}{weights}</p>')
        several = len(source["conformers"]) > 1
        head = [f"Line ({_WAVENUMBER})", f"{_INTENSITY}{', weighted' if several else ''}", "Motion"]
        rows = [
            [f"{line['wavenumber_per_cm']:.1f}", f"{line['intensity_km_per_mol']:.1f}", "".join(_motions([line]))]
            for line in source["lines"]
        ]
        parts.append(f"<details><summary>{len(rows)} lines</summary>\n{_table(head, rows)}\n</details>")
    return "\n".join(parts)


def _experiment(given: Record | None) -> str:
    if given is None:
        return ""
    intensities = given["intensities_km_per_mol"] or [None] * len(given["wavenumbers_per_cm"])
    pairs = sorted(zip(given["wavenumbers_per_cm"], intensities, strict=True), key=lambda pair: float(pair[0]))
    rows = [[f"{place:.1f}", "" if value is None else f"{value:.1f}"] for place, value in pairs]
    parts = [
        f'<h2>Experiment</h2>\n<p class="small">{escape(given["source"])}</p>',
        _table([f"Band ({_WAVENUMBER})", _INTENSITY], rows),
    ]
    if "regions" in given:
        head = [
            "Region",
            f"Range ({_WAVENUMBER})",
            "Experiment (km/mol)",
            "Dynamics (km/mol)",
            "Share: experiment, dynamics",
        ]
        parts.append(_table(head, [_region(region) for region in given["regions"]]))
    return "\n".join(parts)


def _region(region: Record) -> list[str]:
    lower, upper, measured = region["lower_per_cm"], region["upper_per_cm"], region["experiment_km_per_mol"]
    both = region.get("experiment_share_ratio"), region.get("share_ratio")
    return [
        escape(region["name"]),
        _place(f"{upper:.0f} to {lower:.0f}", lower, upper),
        "" if measured is None else f"{measured:.1f}",
        _with_error(region["intensity_km_per_mol"], region["standard_error_km_per_mol"]),
        "" if both[0] is None or both[1] is None else f"{100 * both[0]:.0f} %, {100 * both[1]:.0f} %",
    ]


def _settings(record: Record) -> str:
    settings, dynamics = record["settings"], record["dynamics"]
    step = settings["time_step_femtosecond"]
    told = {
        "Temperature": f"{settings['temperature_kelvin']:.1f} K ({_TEMPERATURES[settings['temperature_kind']]})",
        "Time step": "not corrected for" if step is None else f"{step:.3g} fs (corrected for)",
        "Between frames": f"{settings['frame_spacing_femtosecond']:.3g} fs",
        "Length": f"{settings['length_picosecond']:.4g} ps of each replica",
        "Replicas": str(settings["n_replicas"]),
        "Resolution": f"{settings['window_width_per_cm']:g} {_WAVENUMBER} full width at half maximum, "
        f"{escape(settings['window'].capitalize())} window",
        "Wavenumbers": "not scaled",
        "Energy drift": f"{dynamics['energy_drift_mev_per_atom_per_ps']:+.1e} meV/atom/ps",
    }
    for number, one in enumerate(record.get("trajectories", []), 1):
        told[f"Trajectory {number}"] = (
            f"{escape(one['file'])}: weight {one['weight_ratio']:.3f}, {one['n_replicas']} replicas of "
            f"{one['length_picosecond']:.4g} ps at {one['temperature_kelvin']:.1f} K"
        )
    if record.get("weights_from"):
        told["Weights"] = escape(record["weights_from"])
    return "<dl>\n" + "".join(f"<dt>{name}</dt><dd>{text}</dd>\n" for name, text in told.items()) + "</dl>"
