// A text field with suggestions (the combobox of the ARIA practices): what is here is filtered as one types,
// and what is typed is told to the page a moment later ("words"), which answers with what the Hub has.
//
// data: label, help, placeholder, value, groups [{name, options [{value, name, told}]}], found {words, options, said},
//       searches (whether the page answers to words), least (characters), note. "chosen" tells the page what was taken.

const PAUSE = 280; // ms without a key before the page is asked
const MOST = 60; // options shown at once
const states = new WeakMap();
let count = 0;

export default function (component) {
  const { data, parentElement, setStateValue, setTriggerValue } = component;
  let state = states.get(parentElement);
  if (!state) states.set(parentElement, (state = made(parentElement)));
  state.tell = (words) => setStateValue("words", words);
  state.take = (value) => setTriggerValue("chosen", value);
  if (!state.data || state.data.value !== data.value) {
    state.input.value = data.value;
    state.taken = data.value;
  }
  state.data = data;
  state.label.textContent = data.label;
  state.help.textContent = data.help;
  state.note.textContent = data.note;
  state.note.hidden = !data.note;
  state.input.placeholder = data.placeholder;
  if (state.open) drawn(state);
  for (const kind of ["keydown", "keyup"]) window.addEventListener(kind, state.escaped, true);
  return () => {
    clearTimeout(state.timer);
    for (const kind of ["keydown", "keyup"]) window.removeEventListener(kind, state.escaped, true);
  };
}

function made(parent) {
  const root = parent.querySelector(".field"), id = `search-field-${++count}`;
  const [label, input, list, help, note, live] = ["label", "input", ".list", ".help", ".note", ".live"].map((one) => root.querySelector(one));
  input.id = id; label.htmlFor = id; list.id = `${id}-list`; help.id = `${id}-help`;
  input.setAttribute("aria-controls", list.id); input.setAttribute("aria-describedby", help.id);
  const state = { root, label, input, list, help, note, live, id, open: false, active: -1, options: [], typed: false, taken: "" };
  state.escaped = (event) => escaped(state, event);
  input.addEventListener("input", () => { state.typed = true; shown(state, true); asked(state); });
  input.addEventListener("click", () => { if (!state.open) { state.typed = false; shown(state, true); input.select(); } });
  input.addEventListener("keydown", (event) => pressed(state, event));
  for (const kind of ["keyup", "keypress"]) input.addEventListener(kind, (event) => event.stopPropagation()); // no letter is a shortcut of the page
  input.addEventListener("blur", () => { shown(state, false); if (complete(state, input.value)) taken(state, input.value); });
  list.addEventListener("mousedown", (event) => event.preventDefault()); // the field keeps the focus
  list.addEventListener("click", (event) => {
    const option = event.target.closest("[role=option]");
    if (option) chosen(state, state.options[Number(option.dataset.place)].value);
  });
  return state;
}

// A name that is whole, or one that is offered, may be left by going elsewhere; half a name is not taken.
const complete = (state, text) => /^\s*$/.test(text) || /[^\s/]\/[^\s/]/.test(text)
  || state.data.groups.some((group) => group.options.some((one) => one.value === text.trim()));

function asked(state) {
  clearTimeout(state.timer);
  const words = state.input.value.trim();
  if (state.data.searches && words.length >= state.data.least && !words.includes("://")) state.timer = setTimeout(() => state.tell(words), PAUSE);
}

function taken(state, value) {
  clearTimeout(state.timer);
  value = value.trim();
  if (value === state.taken) return;
  state.taken = state.input.value = value;
  state.typed = false;
  state.tell("");
  state.take(value);
}

function chosen(state, value) {
  shown(state, false);
  taken(state, value);
}

function shown(state, open) {
  state.open = open;
  state.active = -1;
  drawn(state);
}

function pressed(state, event) {
  const { key } = event, last = state.options.length - 1;
  if (key === "ArrowDown" || key === "ArrowUp") {
    if (!state.open) { state.typed = state.typed && state.input.value !== state.taken; shown(state, true); }
    const step = key === "ArrowDown" ? 1 : -1;
    state.active = state.options.length ? (state.active + step + state.options.length + (state.active < 0 && step < 0 ? 1 : 0)) % state.options.length : -1;
    marked(state);
  } else if (state.open && (key === "Home" || key === "End") && state.active >= 0) {
    state.active = key === "Home" ? 0 : last;
    marked(state);
  } else if (key === "Enter") {
    chosen(state, state.active >= 0 ? state.options[state.active].value : state.input.value);
  } else {
    if (key !== "Escape" && key !== "Tab") event.stopPropagation(); // no letter is a shortcut of the page
    return;
  }
  event.preventDefault();
  event.stopPropagation();
}

// The first Escape closes the list, the second one what the field stands in, which would hear the first one too.
function escaped(state, event) {
  if (event.key !== "Escape" || event.composedPath()[0] !== state.input) return;
  if (event.type === "keydown" && state.open) {
    state.swallowed = true;
    state.input.value = state.taken;
    shown(state, false);
  } else if (event.type === "keydown" || !state.swallowed) {
    return;
  } else state.swallowed = false;
  event.preventDefault();
  event.stopImmediatePropagation();
}

function groups(state) {
  const { data, input, typed } = state, words = typed ? input.value.toLowerCase().split(/\s+/).filter(Boolean) : [];
  const fits = (one) => words.every((word) => `${one.value} ${one.told}`.toLowerCase().includes(word));
  const here = data.groups.map((group) => ({ name: group.name, options: group.options.filter(fits) }));
  const known = new Set(here.flatMap((group) => group.options.map((one) => one.value)));
  const fresh = typed && data.found.words === input.value.trim();
  return [...here, { name: "On the Hub", options: fresh ? data.found.options.filter((one) => !known.has(one.value)) : [] }];
}

function drawn(state) {
  const { data, input, list } = state;
  const words = input.value.trim(), shownGroups = state.open ? groups(state).filter((group) => group.options.length) : [];
  state.options = shownGroups.flatMap((group) => group.options).slice(0, MOST);
  list.replaceChildren();
  let place = 0;
  for (const group of shownGroups) {
    if (place >= state.options.length) break;
    const box = element("div", { role: "group", "aria-label": group.name }), head = element("div", { class: "head", "aria-hidden": "true" }, group.name);
    box.append(head);
    for (const one of group.options) {
      if (place >= state.options.length) break;
      const option = element("div", { role: "option", id: `${state.id}-${place}`, "aria-selected": "false", "data-place": String(place) });
      option.append(element("span", { class: "name" }, one.name), element("span", { class: "told" }, one.told));
      box.append(option);
      place += 1;
    }
    list.append(box);
  }
  const search = state.open && state.typed && data.searches;
  const waiting = search && words.length >= data.least && data.found.words !== words && !words.includes("://");
  const said = waiting ? "Searching the Hub …" : search && words.length >= data.least && data.found.words === words ? data.found.said
    : search && words && words.length < data.least ? `The Hub is searched from ${data.least} characters on.` : "";
  state.live.textContent = said || (state.open && state.typed ? `${state.options.length} found` : "");
  state.live.classList.toggle("unseen", !said);
  list.hidden = !state.options.length;
  input.setAttribute("aria-expanded", String(!list.hidden));
  if (state.active >= state.options.length) state.active = -1;
  marked(state);
}

function marked(state) {
  for (const option of state.list.querySelectorAll("[role=option]")) {
    const on = Number(option.dataset.place) === state.active;
    option.setAttribute("aria-selected", String(on));
    if (on) option.scrollIntoView({ block: "nearest" });
  }
  if (state.active >= 0) state.input.setAttribute("aria-activedescendant", `${state.id}-${state.active}`);
  else state.input.removeAttribute("aria-activedescendant");
}

function element(name, attributes, text = "") {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}
