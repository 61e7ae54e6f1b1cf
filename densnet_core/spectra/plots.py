"""Pictures of spectra."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from textwrap import wrap
from typing import Final

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import AutoMinorLocator, MultipleLocator
from numpy.typing import NDArray

from densnet_core.errors import InputError
from densnet_core.spectra.experiment import ExperimentalBands
from densnet_core.spectra.harmonic import NormalModes, broadened
from densnet_core.spectra.infrared import Spectrum, SpectrumSettings
from densnet_core.spectra.lines import HarmonicLines

Array = NDArray[np.float64]

# Okabe and Ito's palette, distinguishable with every common colour blindness (jfly.uni-koeln.de/color).
_BLUE: Final = "#0072B2"
_VERMILION: Final = "#D55E00"
_GREEN: Final = "#009E73"
_PURPLE: Final = "#CC79A7"
_ORANGE: Final = "#E69F00"
_SKY: Final = "#56B4E9"
_GREY: Final = "#555555"
_MARKERS: Final = "osD^v"

_NOTE_LENGTH: Final = 130  # characters of the small print that fit beside each other


def plot_spectrum(
    path: str | Path,
    spectrum: Spectrum,
    *,
    errors: Array | None = None,
    title: str = "",
    lines: Sequence[HarmonicLines] = (),
    experiment: ExperimentalBands | None = None,
    remarks: Sequence[str] = (),
    lower: float = 400.0,
    upper: float = 4000.0,
    dpi: int = 200,
) -> None:
    """PNG of a spectrum: wavenumbers descending, absorption upwards, settings printed below.

    Parameters
    ----------
    path : str or Path
        The PNG file.
    spectrum : Spectrum
    errors : (n,) or None
        Standard error of the absorption, drawn as a band about it.
    title : str
        Molecule and model.
    lines : sequence of HarmonicLines
        Drawn as sticks; their intensities have an axis of their own, on the right.
    experiment : ExperimentalBands or None
        Drawn as ticks at the top, with the source.
    remarks : sequence of str
        Printed with the settings: weights of conformers, why the spectrum is not to be trusted everywhere.
    lower, upper : float
        Range, cm^-1.
    dpi : int
    """
    notes = [_settings_text(spectrum.settings), *remarks]
    curve = _Curve("Molecular dynamics", spectrum.wavenumbers, spectrum.absorption, errors)
    drawn = [_Lines(one.label, one.wavenumbers, one.intensities) for one in lines]
    _plot(path, curve, notes, title, drawn, experiment, (lower, upper), dpi)


def plot_modes(
    path: str | Path,
    modes: NormalModes,
    *,
    width: float = 20.0,
    title: str = "",
    label: str = "",
    other: NormalModes | None = None,
    other_label: str = "",
    dpi: int = 200,
) -> None:
    """PNG of a harmonic spectrum: its lines, and what they look like at a resolution.

    Parameters
    ----------
    path : str or Path
        The PNG file.
    modes : NormalModes
        Imaginary frequencies are left out.
    width : float
        Full width at half maximum of the Gaussians that lines are broadened with, cm^-1.
    title : str
        Molecule and where the modes are from.
    label : str
        Level of theory of the lines.
    other, other_label : NormalModes or None, str
        Lines of another source to stand beside, and what they are called.
    dpi : int
    """
    drawn = np.concatenate([modes.wavenumbers, [] if other is None else other.wavenumbers])
    real = drawn[drawn > 0]
    lower = 0.0 if real.min(initial=400.0) < 400.0 else 400.0
    upper = 100.0 * np.ceil(max(4000.0, real.max(initial=0.0) + 100.0) / 100.0)
    grid = np.arange(lower, upper + 0.5, min(1.0, width / 10.0))
    curve = _Curve(f"Gaussians of {width:g} cm\u207b\u00b9", grid, broadened(modes, grid, width))
    notes = [f"Harmonic wavenumbers and intensities, Gaussians of {width:g} cm\u207b\u00b9 FWHM, not scaled"]
    both = [(label, modes), *([] if other is None else [(other_label, other)])]
    lines = [_Lines(name, one.wavenumbers, one.intensities) for name, one in both]
    _plot(path, curve, notes, title, lines, None, (lower, upper), dpi)


@dataclass(frozen=True, eq=False)
class _Curve:
    """Absorption (n,) in km/mol per cm^-1 at wavenumbers (n,), what it is, and its standard errors (n,) if known."""

    label: str
    wavenumbers: Array
    absorption: Array
    errors: Array | None = None


@dataclass(frozen=True, eq=False)
class _Lines:
    """Harmonic lines (n,) in cm^-1, their intensities (n,) in km/mol, and their level of theory."""

    label: str
    wavenumbers: Array
    intensities: Array


def _plot(
    path: str | Path,
    curve: _Curve,
    paragraphs: list[str],
    title: str,
    lines: Sequence[_Lines],
    experiment: ExperimentalBands | None,
    limits: tuple[float, float],
    dpi: int,
) -> None:
    lower, upper = limits
    if not lower < upper:
        raise InputError(f"The range to plot is empty: {lower} to {upper} cm^-1.")
    if experiment is not None:
        paragraphs = [*paragraphs, f"Experiment: {experiment.source}"]
    notes = [line for paragraph in paragraphs for line in wrap(paragraph, _NOTE_LENGTH)]
    # Heights in inches, from below: notes, legend and axis title, axes, experimental labels, title.
    columns = 3 if len(lines) < 2 else 2  # of the legend
    entries = 1 + (curve.errors is not None) + len(lines) + (experiment is not None)
    below = 0.12 + 0.17 * len(notes) + 0.52 + 0.2 * ceil(entries / columns)
    above = (0.58 if experiment else 0.12) + (0.38 if title else 0.0)
    width, height = 8.4, below + 2.95 + above
    figure = Figure(figsize=(width, height), dpi=dpi, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.085, below / height, 0.835, 2.95 / height))
    _draw_curve(axes, curve, lower, upper)
    _style(axes, lower, upper)
    handles: list[Artist] = list(axes.get_legend_handles_labels()[0])
    colors = (_VERMILION, _PURPLE, _ORANGE, _SKY, _GREY)
    handles += _draw_sticks(axes, lines, lower, upper, colors)
    if experiment is not None:
        handles.append(_draw_experiment(axes, experiment, lower, upper))
    legend = axes.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0.0, -0.15),
        ncols=columns,
        frameon=False,
        fontsize=8.5,
        handlelength=1.8,
        borderaxespad=0.0,
    )
    texts = list(legend.get_texts())
    if title:
        texts.append(
            figure.text(0.085, 1 - 0.22 / height, title, fontsize=11.5, fontweight="bold", ha="left", va="center")
        )
    texts.append(
        figure.text(
            0.085, 0.1 / height, "\n".join(notes), fontsize=7.5, color=_GREY, ha="left", va="bottom", linespacing=1.5
        )
    )
    for text in texts:
        text.set_parse_math(False)  # a dollar sign in a name or a source is one
    try:
        figure.savefig(Path(path), format="png")
    except OSError as error:
        raise InputError(f"Cannot write the picture {path}: {error.strerror}.") from error


def _draw_curve(axes: Axes, curve: _Curve, lower: float, upper: float) -> None:
    inside = (curve.wavenumbers >= lower) & (curve.wavenumbers <= upper)
    x, y, errors = curve.wavenumbers[inside], curve.absorption[inside], curve.errors
    if errors is None:
        axes.fill_between(x, y, color=_BLUE, alpha=0.15, linewidth=0)
    axes.plot(x, y, color=_BLUE, linewidth=1.3, label=curve.label, zorder=3)
    highest = float(y.max()) if y.size else 0.0
    if errors is not None and y.size:
        above = y + errors[inside]
        label = "\u00b1 standard error over replicas"
        axes.fill_between(x, y - errors[inside], above, color=_BLUE, alpha=0.35, linewidth=0, label=label, zorder=2)
        highest = max(highest, float(above.max()))
    axes.set_ylim(0.0, 1.08 * highest if highest > 0 else 1.0)


def _style(axes: Axes, lower: float, upper: float) -> None:
    axes.set_xlim(upper, lower)
    axes.set_xlabel("Wavenumber (cm$^{-1}$)", fontsize=10, labelpad=3)
    axes.set_ylabel("Absorption (km mol$^{-1}$ / cm$^{-1}$)", fontsize=10, color=_BLUE)
    axes.tick_params(labelsize=9, direction="out")
    if upper - lower > 1500:
        axes.xaxis.set_major_locator(MultipleLocator(400))
        axes.xaxis.set_minor_locator(MultipleLocator(100))
    axes.yaxis.set_minor_locator(AutoMinorLocator(2))
    axes.spines[["top", "right"]].set_visible(False)


def _draw_sticks(
    axes: Axes, sources: Sequence[_Lines], lower: float, upper: float, colors: Sequence[str]
) -> list[LineCollection]:
    """Harmonic lines of each source, the first in front, on an axis of their own."""
    if not sources:
        return []
    sticks, drawn, highest = axes.twinx(), [], 0.0
    for place, one in enumerate(sources):
        color, marker, order = colors[place % len(colors)], _MARKERS[place % len(_MARKERS)], 5.0 - 0.1 * place
        inside = (one.wavenumbers >= lower) & (one.wavenumbers <= upper)
        positions, intensities = one.wavenumbers[inside], one.intensities[inside]
        label = f"Harmonic{', ' + one.label if one.label else ''}{' (right axis)' if len(sources) == 1 else ''}"
        drawn.append(sticks.vlines(positions, 0.0, intensities, color=color, linewidth=1.6, label=label, zorder=order))
        # A dot keeps the place of a line too weak to be seen.
        sticks.plot(positions, intensities, marker, color=color, markersize=3.2, zorder=order, clip_on=False)
        highest = max(highest, float(intensities.max(initial=0.0)))
    sticks.set_ylim(0.0, 1.35 * highest if highest > 0 else 1.0)
    one_color = colors[0] if len(sources) == 1 else "black"
    sticks.set_ylabel("Harmonic intensity (km mol$^{-1}$)", fontsize=10, color=one_color)
    sticks.tick_params(labelsize=9)
    sticks.spines[["top", "left"]].set_visible(False)
    return drawn


def _draw_experiment(axes: Axes, experiment: ExperimentalBands, lower: float, upper: float) -> Line2D:
    """Ticks above the frame with their wavenumbers; labels are moved apart where bands are close."""
    positions = np.sort([x for x in experiment.wavenumbers if lower <= x <= upper])
    transform = axes.get_xaxis_transform()
    for position, place in zip(positions, _spread(positions, 0.026 * (upper - lower), lower, upper), strict=True):
        axes.plot([position, position], [0, 1.0], color=_GREEN, lw=0.8, ls=(0, (2, 2)), transform=transform, zorder=1)
        axes.annotate(
            f"{position:.0f}",
            xy=(position, 1.0),
            xycoords=transform,
            xytext=(place, 1.055),
            textcoords=transform,
            rotation=90,
            fontsize=8,
            color=_GREEN,
            ha="center",
            va="bottom",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": _GREEN, "lw": 0.8, "shrinkA": 0, "shrinkB": 0},
        )
    return Line2D([], [], color=_GREEN, linewidth=0.9, linestyle=(0, (2, 2)), label="Experiment")


def _spread(positions: Array, gap: float, lower: float, upper: float) -> Array:
    """Places for labels: at least ``gap`` apart, as near to the ascending positions as that allows.

    The problem is isotonic regression of positions - i gap, solved by pooling neighbours that violate the order.
    """
    blocks: list[tuple[float, int]] = []
    for index, position in enumerate(positions):
        mean, count = float(position) - index * gap, 1
        while blocks and blocks[-1][0] > mean:
            previous, size = blocks.pop()
            mean, count = (previous * size + mean * count) / (size + count), size + count
        blocks.append((mean, count))
    shifted = np.repeat([mean for mean, _ in blocks], [count for _, count in blocks])
    highest = max(upper - gap * (len(positions) - 1), lower)
    return np.asarray(np.clip(shifted, lower, highest) + gap * np.arange(len(positions)))


def _settings_text(settings: SpectrumSettings) -> str:
    kinds = {"kinetic": "kinetic, measured", "nominal": "of the bath", "configurational": "configurational, measured"}
    step = (
        "no time-step correction"
        if settings.time_step is None
        else f"time step {settings.time_step:.3g} fs (corrected for)"
    )
    replicas = f"{settings.n_replicas} replica" + ("s" if settings.n_replicas != 1 else "")
    return (
        f"{settings.temperature:.0f} K ({kinds[settings.temperature_kind]}), {step}, {replicas} of "
        f"{settings.length:.3g} ps, {settings.window.capitalize()} window "
        f"{settings.width:g} cm\u207b\u00b9 FWHM, not scaled"
    )
