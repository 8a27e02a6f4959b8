// Texts come from data sets and LLMs: they enter the page as text nodes only, never as markup.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const COLOURS = 12;
const box = byId("canvas").getBoundingClientRect();
// The map has the shape of its place; one unit is a pixel at first, so that words are readable anywhere.
const SIZE = { width: Math.max(280, box.width), height: Math.max(260, box.height), margin: 34 };
const state = { hidden: new Set(), query: "", by: "cluster", chosen: null, view: { x: 0, y: 0, scale: 1 } };

// --- words and numbers ------------------------------------------------------------------------

const isNumber = (value) => value !== null && value !== undefined;
const fixed = (value) => (isNumber(value) ? value.toFixed(2) : "–");
const percent = (value) => `${Math.round(value * 100)} %`;
const count = (value) => value.toLocaleString("en");
const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
const colour = (number) => (number < 0 ? "var(--none)" : `var(--c${number % COLOURS})`);
const facts = new Map(data.clusters.map((one) => [one.label, one]));

function named(label) {
  if (label < 0) return "in none";
  const terms = facts.get(label).terms.slice(0, 2).join(", ");
  return terms || `cluster ${label}`;
}

// --- what the dots are coloured by --------------------------------------------------------------

const kinds = [...new Set(data.points.flatMap((point) => Object.keys(point.labels)))].sort();

function groupsOf(kind) {
  if (kind === "cluster") {
    return { names: data.clusters.map((one) => one.label), of: (point) => point.label, text: named, colour };
  }
  const counts = new Map();
  for (const point of data.points)
    for (const value of point.labels[kind] || []) counts.set(value, (counts.get(value) || 0) + 1);
  const known = [...counts].sort((a, b) => b[1] - a[1]).map(([value]) => value);
  const top = known.slice(0, COLOURS - 1);
  const of = (point) => {
    const mine = point.labels[kind] || [];
    const best = top.findLastIndex((value) => mine.includes(value)); // the rarest says most
    return best < 0 ? -1 : best;
  };
  const rest = data.points.some((point) => of(point) < 0);
  return { names: [...top.keys(), ...(rest ? [-1] : [])], of, text: (n) => (n < 0 ? "other" : top[n]), colour };
}

let groups = groupsOf("cluster");

// --- the map ----------------------------------------------------------------------------------

function scaled() {
  const xs = data.points.map((p) => p.x), ys = data.points.map((p) => p.y);
  const low = [Math.min(...xs), Math.min(...ys)], high = [Math.max(...xs), Math.max(...ys)];
  const place = (value, axis, size) =>
    SIZE.margin + ((value - low[axis]) / (high[axis] - low[axis] || 1)) * (size - 2 * SIZE.margin);
  return data.points.map((p) => ({ x: place(p.x, 0, SIZE.width), y: SIZE.height - place(p.y, 1, SIZE.height) }));
}

const spots = scaled();
const radius = (data.points.length > 1500 ? 3 : data.points.length > 400 ? 4 : 6) * (SIZE.width < 600 ? 0.7 : 1);
const dots = data.points.map((point, i) => svg("circle", {
  cx: spots[i].x, cy: spots[i].y, r: radius,
  mouseenter: (event) => showTip(i, event), mousemove: moveTip, mouseleave: hideTip,
  click: () => choose(i),
}));
const layer = svg("g", {}, dots);
const names = svg("g", {});
const plot = svg("svg", { viewBox: `0 0 ${SIZE.width} ${SIZE.height}`, role: "img",
  "aria-label": "Map of the problems, coloured by cluster" }, svg("g", { id: "moved" }, layer, names));

function matches(point) {
  if (!state.query) return true;
  const text = `${point.id} ${point.text} ${Object.values(point.labels).flat().join(" ")}`.toLowerCase();
  return state.query.split(/\s+/).every((word) => text.includes(word));
}

function middle(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

function drawNames() {
  names.replaceChildren();
  const placed = [];
  for (const name of groups.names) {
    if (name < 0 || state.hidden.has(name)) continue;
    const mine = spots.filter((_, i) => groups.of(data.points[i]) === name);
    if (!mine.length) continue;
    const at = { x: middle(mine.map((s) => s.x)), y: middle(mine.map((s) => s.y)) };
    const text = groups.text(name), size = (SIZE.width < 600 ? 11 : 13) / state.view.scale;
    const wide = text.length * size * 0.6;
    at.x = Math.min(Math.max(at.x, wide / 2 + 4), SIZE.width - wide / 2 - 4);
    while (placed.some((p) => Math.abs(p.x - at.x) < (p.wide + wide) / 2 && Math.abs(p.y - at.y) < size * 1.4))
      at.y += size * 0.7;
    placed.push({ ...at, wide });
    names.append(svg("text", { class: "name", x: at.x, y: at.y, "--size": `${size}px` }, text));
  }
}

function draw() {
  let hits = 0;
  data.points.forEach((point, i) => {
    const group = groups.of(point), dot = dots[i], match = matches(point);
    const visible = !state.hidden.has(group);
    hits += match && visible;
    dot.setAttribute("class", ["point", group < 0 && "outside", !match && "dim", state.chosen === i && "chosen"]
      .filter(Boolean).join(" "));
    dot.style.setProperty("--colour", groups.colour(group));
    dot.style.setProperty("--share", (0.25 + 0.75 * Math.min(1, point.share)).toFixed(2));
    dot.setAttribute("r", radius / Math.sqrt(state.view.scale));
    dot.style.display = visible ? "" : "none";
  });
  byId("hits").textContent = state.query ? `${count(hits)} of ${count(data.points.length)}` : "";
  drawNames();
}

function drawChips() {
  put(byId("chips"), groups.names.map((name) => {
    const size = data.points.filter((point) => groups.of(point) === name).length;
    const chip = h("button", { type: "button", class: "chip", "aria-pressed": "true", click: () => {
      if (!state.hidden.delete(name)) state.hidden.add(name);
      chip.classList.toggle("off", state.hidden.has(name));
      chip.setAttribute("aria-pressed", String(!state.hidden.has(name)));
      draw();
    } }, h("span", { class: "dot", "--colour": groups.colour(name) }), groups.text(name),
    h("span", { class: "quiet" }, count(size)));
    return chip;
  }));
}

// --- moving about -------------------------------------------------------------------------------

function applyView() {
  const { x, y, scale } = state.view;
  byId("moved").setAttribute("transform", `translate(${x} ${y}) scale(${scale})`);
  draw();
}

function at(event) {
  const matrix = plot.getScreenCTM();
  return { x: (event.clientX - matrix.e) / matrix.a, y: (event.clientY - matrix.f) / matrix.d };
}

plot.addEventListener("wheel", (event) => {
  event.preventDefault();
  const point = at(event), old = state.view.scale;
  const scale = Math.min(12, Math.max(0.8, old * Math.exp(-event.deltaY / 400)));
  state.view.x = point.x - ((point.x - state.view.x) / old) * scale;
  state.view.y = point.y - ((point.y - state.view.y) / old) * scale;
  state.view.scale = scale;
  applyView();
}, { passive: false });

let drag = null;
plot.addEventListener("pointerdown", (event) => {
  if (event.target !== plot) return;
  drag = { from: at(event), x: state.view.x, y: state.view.y };
  plot.setPointerCapture(event.pointerId);
  plot.classList.add("moving");
});
plot.addEventListener("pointermove", (event) => {
  if (!drag) return;
  const now = at(event);
  state.view.x = drag.x + now.x - drag.from.x;
  state.view.y = drag.y + now.y - drag.from.y;
  const { x, y, scale } = state.view;
  byId("moved").setAttribute("transform", `translate(${x} ${y}) scale(${scale})`);
});
plot.addEventListener("pointerup", () => { drag = null; plot.classList.remove("moving"); });

// --- one problem --------------------------------------------------------------------------------

const tip = byId("tip");

function showTip(i, event) {
  const point = data.points[i];
  put(tip, h("b", {}, point.id), h("div", {}, point.text.slice(0, 180) + (point.text.length > 180 ? "…" : "")),
    h("div", { class: "quiet" }, `${named(point.label)}, ${percent(point.share)}`));
  tip.hidden = false;
  moveTip(event);
}

function moveTip(event) {
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(6, Math.min(event.clientX + 14, innerWidth - box.width - 8))}px`;
  tip.style.top = `${Math.max(6, event.clientY + 16 + box.height > innerHeight ? event.clientY - box.height - 10 : event.clientY + 16)}px`;
}

function hideTip() { tip.hidden = true; }

function choose(i) {
  state.chosen = i;
  draw();
  const point = data.points[i];
  const tags = Object.entries(point.labels).flatMap(([kind, values]) =>
    values.map((value) => h("span", { class: "tag" }, kind === "tags" ? value : `${kind}: ${value}`)));
  const shares = point.memberships.map((share, k) => [share, k]).sort((a, b) => b[0] - a[0]).slice(0, 4);
  put(byId("detail"), h("h3", {}, point.id), h("p", { class: "quiet" }, `${plural(point.tokens, "token")} to learn`),
    h("div", { class: "bars" }, shares.map(([share, k]) => [
      h("span", {}, named(k)), h("div", { class: "bar", "--colour": colour(k), "--width": `${share * 100}%` }),
      h("span", { class: "quiet" }, percent(share))])),
    tags.length ? h("div", { class: "tags" }, tags) : null, h("p", { class: "prose" }, point.text));
}

// --- the page -----------------------------------------------------------------------------------

function card(value, name, note) {
  return isNumber(value) ? h("div", { class: "card", title: note }, h("b", {}, value), h("span", {}, name)) : null;
}

function drawVerdict() {
  const v = data.validation;
  const chance = isNumber(v.silhouette_chance) ? `silhouette (chance ${fixed(v.silhouette_chance)})` : "silhouette";
  put(byId("verdict"), h("p", { class: "verdict" }, v.verdict),
    v.warnings.map((warning) => h("p", { class: "warning", role: "note" }, `Warning: ${warning}.`)),
    h("div", { class: "cards" },
      card(data.clusters.filter((one) => one.label >= 0).length, "clusters"),
      card(count(data.points.length), "problems"),
      card(isNumber(v.silhouette) ? fixed(v.silhouette) : null, chance, "How much nearer a problem is to its own cluster than to the next"),
      card(isNumber(v.dbcv) ? fixed(v.dbcv) : null, "DBCV", "Density-based validation, from -1 to 1"),
      card(isNumber(v.stability) ? fixed(v.stability) : null, "stability (ARI)", "Agreement with clusters of four fifths of the problems"),
      card(isNumber(v.placement) ? percent(v.placement) : null, `placed by text (chance ${percent(v.placement_chance || 0)})`,
        "Problems put into their own cluster by their text alone")));
}

function table(heads, rows) {
  return h("div", { class: "scroll" }, h("table", {},
    h("thead", {}, h("tr", {}, heads.map((head) => h("th", { class: head.startsWith(">") && "right" }, head.replace(/^>/, ""))))),
    h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((cell, i) =>
      cell instanceof HTMLTableCellElement ? cell : h("td", { class: heads[i].startsWith(">") && "right" }, cell)))))));
}

function drawClusters() {
  const rows = data.clusters.map((one) => [
    h("td", { class: "first" }, h("span", { class: "dot", "--colour": colour(one.label) }), one.label < 0 ? "in none" : `cluster ${one.label}`),
    count(one.problems), count(one.tokens),
    h("td", { class: "wide" }, one.terms.join(", ")),
    ...kinds.map((kind) => h("td", {}, (one.labels[kind] || []).map(([value, share]) => h("div", {}, `${value} `, h("span", { class: "quiet" }, percent(share)))))),
    h("td", { class: "wide" }, one.examples.map(([id, text]) => h("span", { class: "example", title: id }, text))),
  ]);
  const heads = ["", ">problems", ">tokens", "key terms", ...kinds, "most typical"];
  put(byId("clusters"), h("div", { class: "panel" }, h("h2", {}, "What each cluster is about"), table(heads, rows),
    data.notes.map((note) => h("p", { class: "quiet hint" }, note))));
}

function drawAgreement() {
  const found = data.validation.agreements;
  if (!found.length) return;
  const rows = found.map((one) => [one.label, count(one.items), fixed(one.nmi), fixed(one.nmi_chance), fixed(one.ari),
    fixed(one.homogeneity), h("td", { class: one.p <= 0.05 ? "right better" : "right" }, one.p.toFixed(3))]);
  put(byId("agreement"), h("div", { class: "panel" }, h("h2", {}, "Agreement with labels, which clustering never saw"),
    table(["label", ">problems", ">NMI", ">NMI by chance", ">ARI", ">homogeneity", ">p"], rows)));
}

byId("search").addEventListener("input", (event) => { state.query = event.target.value.trim().toLowerCase(); draw(); });
byId("search").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !state.query) return;
  const first = data.points.findIndex((point) => matches(point) && !state.hidden.has(groups.of(point)));
  if (first >= 0) choose(first);
});
byId("fit").addEventListener("click", () => { state.view = { x: 0, y: 0, scale: 1 }; applyView(); });
put(byId("by"), ["cluster", ...kinds].map((kind) => h("option", { value: kind }, kind)));
byId("by").addEventListener("change", (event) => {
  groups = groupsOf(event.target.value);
  state.hidden.clear();
  drawChips();
  draw();
});

byId("meta").textContent = data.meta;
byId("canvas").append(plot);
drawVerdict();
drawChips();
drawClusters();
drawAgreement();
// The most typical problem of the largest cluster, so that the page shows what a click does.
const typical = data.clusters[0].examples[0];
choose(Math.max(0, data.points.findIndex((point) => typical && point.id === typical[0])));
