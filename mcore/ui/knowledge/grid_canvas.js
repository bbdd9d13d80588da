// The grid of examples x t on a canvas: drawn from one byte a cell, brushed, pointed at, clicked, walked by keys.
//
// What is chosen lives in the page's address: this file only tells the page ("did") and draws what comes back.
// data: stamp, rows, points, cells and tips (base64 of zlib), palette, ts (there), slots (asked for), left, right,
//       height, brush {t, rows}, chosen, dark, told, colours. A row is a rank in the order shown, from 0.

const AXIS = 26, TOP = 20, MOVED = 5, THIN = 12;
const states = new WeakMap();

async function inflated(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  let state = states.get(parentElement);
  if (!state) {
    state = made(parentElement);
    states.set(parentElement, state);
  }
  state.emit = (did) => setTriggerValue("did", did);
  state.observer ??= new ResizeObserver(() => sized(state));
  state.observer.observe(state.root);
  taken(state, data);
  return () => { state.observer.disconnect(); state.observer = null; };
}

function made(parent) {
  const root = parent.querySelector(".grid");
  const [canvas, tip, live] = ["canvas", ".tip", ".live"].map((one) => root.querySelector(one));
  const state = { root, canvas, tip, live, cursor: null, anchor: null, drag: null, data: null, stamp: null };
  canvas.addEventListener("pointerdown", (event) => pressed(state, event));
  canvas.addEventListener("pointermove", (event) => moved(state, event));
  canvas.addEventListener("pointerup", (event) => released(state, event));
  canvas.addEventListener("pointercancel", () => { state.drag = null; drawn(state); });
  canvas.addEventListener("pointerleave", () => { if (!state.drag) pointed(state, null); });
  canvas.addEventListener("keydown", (event) => typed(state, event));
  canvas.addEventListener("blur", () => pointed(state, null));
  return state;
}

async function taken(state, data) {
  state.newest = data.stamp;
  if (state.stamp !== data.stamp) {
    const [cells, tips] = await Promise.all([inflated(data.cells), inflated(data.tips)]);
    if (state.newest !== data.stamp) return; // something newer came while this was unpacked
    Object.assign(state, { cells, tips: JSON.parse(new TextDecoder().decode(tips)), stamp: data.stamp, picture: null });
    state.cursor = state.anchor = null;
  }
  if (state.data?.dark !== data.dark) state.picture = null;
  state.data = data;
  state.canvas.setAttribute("aria-label", data.told);
  state.root.style.height = `${TOP + data.height + AXIS}px`;
  state.root.dataset.brush = JSON.stringify(data.brush);
  state.root.dataset.stamp = data.stamp;
  sized(state);
}

function sized(state) {
  const { root, canvas, data } = state, ratio = window.devicePixelRatio || 1;
  const width = root.clientWidth;
  if (!data || !width) return;
  if (state.width !== width || state.height !== data.height || state.ratio !== ratio) {
    Object.assign(state, { width, height: data.height, ratio, picture: null });
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round((TOP + data.height + AXIS) * ratio);
  }
  drawn(state);
}

// From t to pixels and back; a slot is the stretch of the axis that belongs to one t.
const span = (state) => state.width - state.data.left - state.data.right;
const xOf = (state, t) => state.data.left + t * span(state);
const yOf = (state, row) => TOP + (row / state.data.rows) * state.data.height;
const edge = (slots, i) => (i <= 0 ? slots[0] : i >= slots.length ? slots[slots.length - 1] : (slots[i - 1] + slots[i]) / 2);
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const rowAt = (state, y) => clamp(Math.floor(((y - TOP) / state.data.height) * state.data.rows), 0, state.data.rows - 1);

function slotAt(state, x) {
  const { slots, left } = state.data, t = clamp((x - left) / span(state), 0, 1);
  let nearest = 0;
  slots.forEach((slot, i) => { if (Math.abs(slot - t) < Math.abs(slots[nearest] - t)) nearest = i; });
  return nearest;
}

// Every column as wide as its slot; where there are more rows than pixels, a pixel is the mean of its rows.
function painted(state) {
  const { data, cells, ratio } = state, { rows, points, palette, slots, ts } = data;
  const high = Math.round(data.height * ratio), tall = Math.min(high, rows);
  const image = new ImageData(points, tall);
  for (let line = 0; line < tall; line++) {
    const first = Math.floor((line * rows) / tall), last = Math.max(first + 1, Math.floor(((line + 1) * rows) / tall));
    for (let point = 0; point < points; point++) {
      let r = 0, g = 0, b = 0;
      for (let row = first; row < last; row++) {
        const colour = palette[cells[row * points + point]];
        r += colour[0]; g += colour[1]; b += colour[2];
      }
      const at = 4 * (line * points + point), count = last - first;
      image.data.set([r / count, g / count, b / count, 255], at);
    }
  }
  const small = new OffscreenCanvas(points, tall);
  small.getContext("2d").putImageData(image, 0, 0);
  const picture = new OffscreenCanvas(state.canvas.width, high), pen = picture.getContext("2d");
  pen.imageSmoothingEnabled = false;
  ts.forEach((t, point) => {
    const i = slots.indexOf(t), from = Math.round(xOf(state, edge(slots, i)) * ratio);
    const to = Math.round(xOf(state, edge(slots, i + 1)) * ratio);
    pen.drawImage(small, point, 0, 1, tall, from, 0, Math.max(1, to - from), high);
  });
  state.picture = picture;
}

function drawn(state) {
  const { canvas, data, ratio, cursor } = state;
  if (!data || !state.width) return;
  if (!state.picture && data.rows) painted(state);
  const pen = canvas.getContext("2d"), look = data.colours, bottom = TOP + data.height;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, state.width, bottom + AXIS);
  pen.fillStyle = look.grid;
  pen.fillRect(xOf(state, 0), TOP, span(state), data.height);
  if (state.picture) pen.drawImage(state.picture, 0, TOP, state.width, data.height);
  axes(state, pen);
  const box = state.drag?.box ?? data.brush;
  if (box.t || box.rows) brushed(state, pen, box);
  if (data.chosen !== null) arrows(state, pen, data.chosen);
  if (cursor) {
    const y = (yOf(state, cursor.row) + yOf(state, cursor.row + 1)) / 2, x = xOf(state, data.slots[cursor.slot]);
    pen.strokeStyle = look.text; pen.globalAlpha = 0.55; pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(xOf(state, 0), y); pen.lineTo(xOf(state, 1), y); pen.moveTo(x, TOP); pen.lineTo(x, bottom);
    pen.stroke();
    pen.globalAlpha = 1;
  }
}

function axes(state, pen) {
  const { data } = state, look = data.colours, bottom = TOP + data.height;
  pen.textBaseline = "middle";
  pen.font = `600 12px ${look.font}`; pen.textAlign = "left"; pen.fillStyle = look.text;
  pen.fillText("Examples, one line each", 2, 8);
  pen.font = `12px ${look.font}`; pen.textAlign = "right"; pen.fillStyle = look.quiet;
  for (const row of data.ticks) pen.fillText((row + 1).toLocaleString("en"), data.left - 16, (yOf(state, row) + yOf(state, row + 1)) / 2);
  pen.textBaseline = "top";
  for (const t of [0, 0.2, 0.4, 0.6, 0.8, 1]) {
    const end = t === 0 || t === 1;
    pen.font = `${end ? 600 : 400} 12px ${look.font}`;
    pen.textAlign = t === 0 ? "left" : t === 1 ? "right" : "center";
    pen.fillStyle = t === 0 ? look.a : t === 1 ? look.b : look.quiet;
    pen.fillText(t === 0 ? "A · t = 0" : t === 1 ? "B · t = 1" : t.toFixed(1), xOf(state, t), bottom + 9);
  }
}

function bounds(state, box) {
  const { slots, rows, height } = state.data, bottom = TOP + height;
  const nearest = (t) => slots.reduce((best, slot, i) => (Math.abs(slot - t) < Math.abs(slots[best] - t) ? i : best), 0);
  const [left, right] = box.t ? [edge(slots, nearest(box.t[0])), edge(slots, nearest(box.t[1]) + 1)] : [0, 1];
  const [top, low] = box.rows ? [yOf(state, box.rows[0]), yOf(state, Math.min(rows, box.rows[1] + 1))] : [TOP, bottom];
  return { x: xOf(state, left), y: top, w: Math.max(3, xOf(state, right) - xOf(state, left)), h: Math.max(2, low - top) };
}

function brushed(state, pen, box) {
  const { x, y, w, h } = bounds(state, box), { data } = state;
  pen.save();
  pen.beginPath();
  pen.rect(xOf(state, 0), TOP, span(state), data.height); pen.rect(x, y, w, h);
  pen.clip("evenodd");
  pen.fillStyle = data.colours.ground; pen.globalAlpha = 0.62;
  pen.fillRect(xOf(state, 0), TOP, span(state), data.height);
  pen.restore();
  pen.strokeStyle = data.colours.text; pen.lineWidth = 1.5;
  pen.strokeRect(x, y, w, h);
}

function arrows(state, pen, row) {
  const y = (yOf(state, row) + yOf(state, row + 1)) / 2, from = xOf(state, 0), to = xOf(state, 1);
  pen.fillStyle = pen.strokeStyle = state.data.colours.text;
  for (const [x, way] of [[from - 2, -1], [to + 2, 1]]) {
    pen.beginPath(); pen.moveTo(x, y); pen.lineTo(x + way * 9, y - 5.5); pen.lineTo(x + way * 9, y + 5.5); pen.fill();
  }
  pen.lineWidth = 1.5;
  pen.strokeRect(from, yOf(state, row), to - from, Math.max(1, state.data.height / state.data.rows));
}

function place(state, event) {
  const frame = state.canvas.getBoundingClientRect();
  return { x: event.clientX - frame.left, y: event.clientY - frame.top };
}

function pressed(state, event) {
  if (event.button || !state.data?.rows) return;
  const at = place(state, event), { left, height } = state.data;
  const only = at.x < left ? "rows" : at.y > TOP + height || event.pointerType === "touch" ? "t" : null;
  state.drag = { from: at, only, box: null };
  state.canvas.setPointerCapture(event.pointerId);
}

function moved(state, event) {
  const at = place(state, event), { drag } = state;
  if (!state.data?.rows) return;
  if (!drag) return pointed(state, inside(state, at) ? { row: rowAt(state, at.y), slot: slotAt(state, at.x) } : null, at);
  const across = Math.abs(at.x - drag.from.x), down = Math.abs(at.y - drag.from.y);
  if (!drag.box && Math.max(across, down) < MOVED) return;
  pointed(state, null);
  const ordered = (one, other) => [Math.min(one, other), Math.max(one, other)];
  const slots = ordered(slotAt(state, drag.from.x), slotAt(state, at.x)).map((i) => state.data.slots[i]);
  const rows = ordered(rowAt(state, drag.from.y), rowAt(state, at.y));
  const byT = drag.only === "t" || (drag.only !== "rows" && across >= THIN);
  const byRows = drag.only === "rows" || (drag.only !== "t" && (down >= THIN || !byT));
  drag.box = { t: byT ? slots : null, rows: byRows ? rows : null };
  drawn(state);
}

function released(state, event) {
  const { drag } = state, at = place(state, event);
  state.drag = null;
  if (!drag) return;
  if (drag.box) return told(state, drag.box);
  if (inside(state, at)) state.emit({ kind: "pick", rank: rowAt(state, at.y) });
}

function told(state, box) {
  state.data = { ...state.data, brush: box }; // as the page will say in a moment
  drawn(state);
  state.emit({ kind: "brush", ...box });
}

const inside = (state, { x, y }) => x >= state.data.left && x <= state.width - state.data.right && y >= TOP && y < TOP + state.data.height;

// What is under the pointer or the keys' cursor, in words.
function pointed(state, cursor, at) {
  const { tip, data } = state;
  state.cursor = cursor;
  tip.hidden = !cursor;
  if (cursor) {
    const words = said(state, cursor);
    tip.replaceChildren(...words.map((line) => Object.assign(document.createElement("div"), { textContent: line })));
    const where = at ?? { x: xOf(state, data.slots[cursor.slot]), y: yOf(state, cursor.row) };
    tip.style.left = `${clamp(where.x + 14, 0, Math.max(0, state.width - tip.offsetWidth - 4))}px`;
    tip.style.top = where.y > (TOP + data.height) / 2 ? `${where.y - tip.offsetHeight - 10}px` : `${where.y + 14}px`;
  }
  drawn(state);
}

function said(state, { row, slot }) {
  const { data, cells, tips } = state, point = data.ts.indexOf(data.slots[slot]);
  const name = [`Row ${tips.ids[row]}, true label ${tips.names[tips.labels[row]]}`];
  const t = `t = ${data.slots[slot].toFixed(2)}`;
  if (point < 0) return [...name, `${t}: not computed yet`, tips.texts[row] ?? ""];
  const cell = cells[row * data.points + point], levels = data.palette.length / 2, right = cell >= levels;
  const sure = data.sure ? `, true label has ${Math.round((100 * (cell % levels)) / (levels - 1))} %` : "";
  return [...name, `${t}: ${right ? "right" : "wrong"}${sure}`, tips.texts[row] ?? ""];
}

function typed(state, event) {
  const { data } = state;
  if (!data?.rows) return;
  const page = Math.max(1, Math.round(data.rows / 10)), last = data.rows - 1;
  const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], PageUp: [-page, 0], PageDown: [page, 0],
                  Home: [-last, 0], End: [last, 0] };
  const here = state.cursor ?? { row: data.chosen ?? 0, slot: 0 };
  if (event.key === "Escape") { state.anchor = null; pointed(state, null); told(state, { t: null, rows: null }); }
  else if (event.key === "Enter" || event.key === " ") state.emit({ kind: "pick", rank: here.row });
  else if (steps[event.key]) {
    const [down, across] = steps[event.key];
    const next = { row: clamp(here.row + down, 0, last), slot: clamp(here.slot + across, 0, data.slots.length - 1) };
    if (event.shiftKey) {
      state.anchor ??= here;
      const range = (one, other) => (one === other ? null : [Math.min(one, other), Math.max(one, other)]);
      const slots = range(state.anchor.slot, next.slot), box = { t: slots && slots.map((i) => data.slots[i]), rows: range(state.anchor.row, next.row) };
      state.data = { ...data, brush: box };
      clearTimeout(state.later);
      state.later = setTimeout(() => state.emit({ kind: "brush", ...box }), 400); // when the keys rest
    } else state.anchor = null;
    pointed(state, next);
    state.live.textContent = said(state, next).join(". ");
  } else return;
  event.preventDefault();
  event.stopPropagation();
}
