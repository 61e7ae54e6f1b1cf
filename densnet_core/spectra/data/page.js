// Draws the spectrum in the page's JSON. Nothing is loaded, and text from files goes into text nodes only.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const picture = document.getElementById("picture");
  const box = { left: 78, right: 986, top: 52, bottom: 418 };
  const FWHM = 2 * Math.sqrt(2 * Math.log(2)); // of a Gaussian, in standard deviations
  const UNIT = "km/mol per cm\u207b\u00b9";
  const ends = { low: data.range.lower_per_cm, high: data.range.upper_per_cm };
  const NARROWEST = 4; // cm^-1 in view
  const x = data.wavenumbers_per_cm;
  const y = data.absorption_km_cm_per_mol;
  const errors = data.standard_error_km_cm_per_mol;
  const whole = { low: Math.min(ends.low, x[0]), high: Math.max(ends.high, x[x.length - 1]) }; // as far as one can move
  const view = { low: ends.low, high: ends.high, top: null }; // top: null fits the absorption in view
  let width = Math.max(data.settings.window_width_per_cm, 1);
  let sticks = false;

  // Curves

  const curves = [{ name: "Molecular dynamics", color: "#0072b2", kind: "dynamics", on: true }];
  // The colours of plots.py, in the same order.
  const colors = ["#d55e00", "#cc79a7", "#e69f00", "#56b4e9", "#555555"];
  let sources = 0;
  const addLines = (name, lines) => curves.push({ name, lines, color: colors[sources++ % colors.length], kind: "lines", on: true });
  const suffix = (text) => (text ? ", " + text : "");
  if (errors) curves.push({ name: "\u00b1 standard error", color: "#9cc7e0", kind: "errors", on: true });
  if (data.model_harmonic) addLines("Harmonic" + suffix(data.model_harmonic_of), data.model_harmonic);
  if (data.harmonic) addLines("Harmonic" + suffix(data.harmonic_of), data.harmonic);
  for (const one of data.compared || []) addLines("Harmonic" + suffix(one.of), one.lines);
  if (data.experiment) {
    const { wavenumbers_per_cm: places, intensities_km_per_mol: known } = data.experiment;
    const lines = places.map((place, i) => ({ wavenumber_per_cm: place, intensity_km_per_mol: known ? known[i] : 0 }));
    curves.push({ name: "Experiment", lines, known: Boolean(known), color: "#009e73", kind: "experiment", on: true });
  }

  const gaussian = (lines, at) => {
    const sigma = width / FWHM;
    let sum = 0;
    for (const line of lines) {
      const distance = (at - line.wavenumber_per_cm) / sigma;
      if (line.wavenumber_per_cm > 0 && Math.abs(distance) < 8) sum += line.intensity_km_per_mol * Math.exp(-0.5 * distance * distance);
    }
    return sum / (sigma * Math.sqrt(2 * Math.PI));
  };
  const first = (at) => { // index of the first point of the spectrum at or above a wavenumber
    let low = 0, high = x.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (x[middle] < at) low = middle + 1; else high = middle;
    }
    return low;
  };
  const between = (values, at) => {
    const i = first(at);
    if (i === 0 || i >= x.length) return i < x.length && x[i] === at ? values[i] : NaN;
    const part = (at - x[i - 1]) / (x[i] - x[i - 1]);
    return values[i - 1] + part * (values[i] - values[i - 1]);
  };
  const inView = (line) => line.wavenumber_per_cm >= view.low && line.wavenumber_per_cm <= view.high;
  const broadened = (curve) => { // points [wavenumber, absorption] in view: of every pixel, and close to every line
    const grid = [];
    const step = (view.high - view.low) / (box.right - box.left);
    for (let at = view.low; at <= view.high; at += step) grid.push(at);
    for (const line of curve.lines) {
      for (let k = -12; k <= 12; k++) {
        const at = line.wavenumber_per_cm + (k * width) / 8;
        if (at > view.low && at < view.high) grid.push(at);
      }
    }
    return grid.sort((a, b) => a - b).map((at) => [at, gaussian(curve.lines, at)]);
  };
  const measured = () => { // indices of the spectrum in view, with a neighbour on both sides
    const from = Math.max(first(view.low) - 1, 0);
    const to = Math.min(first(view.high) + 1, x.length);
    const each = Math.ceil((to - from) / (box.right - box.left) - 1e-9); // points of a pixel
    const kept = [];
    for (let i = from; i < to; i += Math.max(each, 1)) {
      let lowest = i, highest = i; // these stand for all of a pixel
      for (let k = i + 1; k < Math.min(i + each, to); k++) {
        if (y[k] < y[lowest]) lowest = k;
        if (y[k] > y[highest]) highest = k;
      }
      kept.push(Math.min(lowest, highest));
      if (lowest !== highest) kept.push(Math.max(lowest, highest));
    }
    return kept;
  };

  // Drawing

  const px = (at) => box.right - ((at - view.low) / (view.high - view.low)) * (box.right - box.left);
  const wavenumberAt = (place) => view.low + ((box.right - place) / (box.right - box.left)) * (view.high - view.low);
  let top = 1;
  const py = (value) => box.bottom - (value / top) * (box.bottom - box.top);
  const add = (parent, tag, attributes, text) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    parent.appendChild(element);
    return element;
  };
  const path = (points) => "M" + points.map(([at, value]) => px(at).toFixed(2) + " " + py(value).toFixed(2)).join("L");
  const ticks = (low, high, wanted) => {
    const raw = (high - low) / wanted;
    const power = Math.pow(10, Math.floor(Math.log10(raw)));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= raw);
    const found = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(k * step);
    return { found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
  };

  const draw = () => {
    const shown = curves.filter((curve) => curve.on);
    const points = new Map();
    let highest = 0;
    for (const curve of shown) {
      let drawn = [];
      if (curve.kind === "dynamics") drawn = measured().map((i) => [x[i], y[i]]);
      else if (curve.kind === "errors") drawn = measured().map((i) => [x[i], y[i] + errors[i]]);
      else if (curve.kind === "lines" || curve.known) drawn = broadened(curve);
      points.set(curve, drawn);
      for (const [at, value] of drawn) if (at >= view.low && at <= view.high) highest = Math.max(highest, value);
    }
    top = view.top === null ? (highest > 0 ? 1.06 * highest : 1) : view.top;
    picture.replaceChildren();
    const clip = add(add(picture, "defs", {}), "clipPath", { id: "inside" });
    add(clip, "rect", { x: box.left, y: box.top, width: box.right - box.left, height: box.bottom - box.top });
    axes();
    const inside = add(picture, "g", { "clip-path": "url(#inside)", fill: "none", "stroke-width": 1.6, "stroke-linejoin": "round" });
    for (const curve of shown) if (curve.kind === "errors") {
      const below = measured().reverse().map((i) => [x[i], y[i] - errors[i]]);
      const outline = points.get(curve).concat(below);
      if (outline.length) add(inside, "path", { d: path(outline) + "Z", fill: curve.color, "fill-opacity": 0.7 });
    }
    for (const curve of shown) {
      if (curve.kind === "errors") continue;
      if (curve.kind === "experiment") experiment(inside, curve);
      const drawn = points.get(curve);
      const dashed = curve.kind === "dynamics" ? {} : { "stroke-width": 1.2, "stroke-dasharray": curve.known ? "2 3" : "none" };
      if (drawn.length) add(inside, "path", { d: path(drawn), stroke: curve.color, ...dashed });
      if (sticks && curve.kind === "lines") {
        for (const line of curve.lines.filter(inView)) {
          const height = line.intensity_km_per_mol / ((width / FWHM) * Math.sqrt(2 * Math.PI));
          const at = px(line.wavenumber_per_cm);
          add(inside, "line", { x1: at, x2: at, y1: box.bottom, y2: py(height), stroke: curve.color });
          add(inside, "circle", { cx: at, cy: py(height), r: 3, fill: curve.color });
        }
      }
    }
    cursor = add(picture, "line", { y1: box.top, y2: box.bottom, stroke: "#888", "stroke-dasharray": "3 3", visibility: "hidden" });
  };
  const axes = () => {
    add(picture, "path", { d: `M${box.left} ${box.top}V${box.bottom}H${box.right}`, stroke: "#333", fill: "none" });
    const across = ticks(view.low, view.high, 9);
    for (const at of across.found) {
      add(picture, "line", { x1: px(at), x2: px(at), y1: box.bottom, y2: box.bottom + 5, stroke: "#333" });
      add(picture, "text", { x: px(at), y: box.bottom + 20, "text-anchor": "middle" }, at.toFixed(across.digits));
    }
    const upwards = ticks(0, top, 6);
    for (const value of upwards.found) {
      add(picture, "line", { x1: box.left - 5, x2: box.left, y1: py(value), y2: py(value), stroke: "#333" });
      add(picture, "text", { x: box.left - 9, y: py(value) + 4.5, "text-anchor": "end" }, value.toFixed(upwards.digits));
    }
    add(picture, "text", { x: (box.left + box.right) / 2, y: box.bottom + 42, "text-anchor": "middle" }, "Wavenumber (cm\u207b\u00b9)");
    const middle = (box.top + box.bottom) / 2;
    add(picture, "text", { x: 18, y: middle, "text-anchor": "middle", transform: `rotate(-90 18 ${middle})` }, `Absorption (${UNIT})`);
  };
  const experiment = (inside, curve) => {
    let free = -Infinity; // labels keep their distance, from left to right
    for (const line of curve.lines.filter(inView).sort((a, b) => b.wavenumber_per_cm - a.wavenumber_per_cm)) {
      const at = px(line.wavenumber_per_cm);
      const label = Math.max(at, free);
      free = label + 14;
      add(inside, "line", { x1: at, x2: at, y1: box.top, y2: box.bottom, stroke: curve.color, "stroke-width": 1, "stroke-dasharray": "4 4" });
      add(picture, "line", { x1: at, x2: label, y1: box.top, y2: box.top - 8, stroke: curve.color });
      add(picture, "text", { x: label + 4, y: box.top - 11, transform: `rotate(-90 ${label + 4} ${box.top - 11})`, fill: curve.color },
        line.wavenumber_per_cm.toFixed(0));
    }
  };

  // What is under the cursor

  const readout = document.getElementById("readout");
  let cursor = null;
  const tell = (text, color) => {
    const part = document.createElement("span");
    part.textContent = text;
    if (color) part.style.color = color;
    readout.appendChild(part);
  };
  const number = (value) => {
    const size = Math.abs(value);
    return size >= 10 ? value.toFixed(1) : size >= 1e-3 ? value.toPrecision(3) : size > 0 ? value.toExponential(1) : "0";
  };
  const read = (place) => {
    const at = wavenumberAt(place.x);
    readout.replaceChildren();
    const outside = place.x < box.left || place.x > box.right || place.y < box.top || place.y > box.bottom;
    cursor.setAttribute("visibility", outside ? "hidden" : "visible");
    if (outside) return;
    cursor.setAttribute("x1", place.x);
    cursor.setAttribute("x2", place.x);
    const height = ((box.bottom - place.y) / (box.bottom - box.top)) * top;
    tell(`cursor: ${at.toFixed(1)} cm\u207b\u00b9, ${number(height)} ${UNIT}`);
    const near = (10 * (view.high - view.low)) / (box.right - box.left);
    for (const curve of curves.filter((one) => one.on)) {
      if (curve.kind === "dynamics") {
        const error = errors ? ` \u00b1 ${number(between(errors, at))}` : "";
        tell(`${curve.name}: ${number(between(y, at))}${error}`, curve.color);
      } else if (curve.lines && curve.lines.length) {
        const value = curve.kind === "lines" || curve.known ? `: ${number(gaussian(curve.lines, at))}` : "";
        const distance = (line) => Math.abs(line.wavenumber_per_cm - at);
        const line = curve.lines.reduce((best, one) => (distance(one) < distance(best) ? one : best));
        const strength = curve.kind === "lines" || curve.known ? `, ${number(line.intensity_km_per_mol)} km/mol` : "";
        const words = distance(line) < near ? ` (${line.wavenumber_per_cm.toFixed(1)} cm\u207b\u00b9${strength}${suffix(line.motion)})` : "";
        if (value || words) tell(curve.name + value + words, curve.color);
      }
    }
  };

  // Zoom and pan

  const limit = () => {
    const span = Math.min(Math.max(view.high - view.low, NARROWEST), whole.high - whole.low);
    view.low = Math.min(Math.max(view.low, whole.low), whole.high - span);
    view.high = view.low + span;
  };
  const zoom = (factor, at) => {
    const span = Math.min(Math.max((view.high - view.low) * factor, NARROWEST), whole.high - whole.low);
    view.low = at - ((at - view.low) / (view.high - view.low)) * span;
    view.high = view.low + span;
    limit();
    draw();
  };
  const middle = () => 0.5 * (view.low + view.high);
  const pan = (distance) => {
    view.low += distance;
    view.high += distance;
    limit();
    draw();
  };
  const stretch = (factor) => {
    view.top = top * factor;
    draw();
  };
  const reset = () => {
    Object.assign(view, { low: ends.low, high: ends.high, top: null });
    draw();
  };
  const place = (event) => {
    const frame = picture.getBoundingClientRect();
    return { x: ((event.clientX - frame.left) / frame.width) * 1000, y: ((event.clientY - frame.top) / frame.height) * 470 };
  };
  picture.addEventListener("wheel", (event) => {
    event.preventDefault();
    const turned = (event.deltaY || event.deltaX) * [1, 16, 400][event.deltaMode];
    const factor = Math.exp(Math.max(-1, Math.min(1, turned * 0.002)));
    if (event.shiftKey) stretch(factor); else zoom(factor, wavenumberAt(place(event).x));
    read(place(event));
  }, { passive: false });
  let held = null;
  picture.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    held = place(event).x;
    picture.setPointerCapture(event.pointerId);
  });
  picture.addEventListener("pointermove", (event) => {
    const now = place(event);
    if (held !== null) {
      const distance = wavenumberAt(held) - wavenumberAt(now.x);
      held = now.x;
      pan(distance);
    }
    read(now);
  });
  for (const name of ["pointerup", "pointercancel"]) picture.addEventListener(name, () => { held = null; });
  picture.addEventListener("pointerleave", (event) => read(place(event)));
  picture.addEventListener("dblclick", reset);
  picture.addEventListener("keydown", (event) => {
    const step = 0.1 * (view.high - view.low);
    const keys = {
      ArrowLeft: () => pan(step), ArrowRight: () => pan(-step), ArrowUp: () => stretch(0.8), ArrowDown: () => stretch(1.25),
      "+": () => zoom(0.8, middle()), "=": () => zoom(0.8, middle()), "-": () => zoom(1.25, middle()), 0: reset,
    };
    if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  });
  document.getElementById("in").addEventListener("click", () => zoom(0.7, middle()));
  document.getElementById("out").addEventListener("click", () => zoom(1 / 0.7, middle()));
  document.getElementById("reset").addEventListener("click", reset);
  for (const button of document.querySelectorAll("button[data-lower]")) {
    button.addEventListener("click", () => {
      const low = Number(button.dataset.lower), high = Number(button.dataset.upper);
      Object.assign(view, { low: low - 0.5 * (high - low), high: high + 0.5 * (high - low), top: null });
      limit();
      draw();
      picture.scrollIntoView({ block: "nearest" });
    });
  }

  // Controls

  for (const curve of curves) {
    const label = document.createElement("label");
    const box = document.createElement("input");
    Object.assign(box, { type: "checkbox", checked: curve.on });
    box.addEventListener("change", () => { curve.on = box.checked; draw(); });
    const sample = document.createElement("span");
    sample.style.background = curve.color;
    label.append(box, sample, curve.name);
    document.getElementById("curves").appendChild(label);
  }
  const wide = document.getElementById("width");
  wide.value = width;
  wide.addEventListener("input", () => {
    const given = Number(wide.value);
    if (!(given >= 1 && given <= 500)) return;
    width = given;
    draw();
  });
  const stick = document.getElementById("sticks");
  stick.addEventListener("change", () => { sticks = stick.checked; draw(); });
  draw();
})();
