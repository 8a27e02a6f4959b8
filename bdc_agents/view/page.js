// Every text of a trace was written by an LLM or a hostile program: it enters the page as text
// nodes and attribute values only, never as markup.

const traces = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const HUES = [190, 300, 40, 220, 140, 5, 265, 90];
const BOX = { width: 244, height: 44, gapX: 46, gapY: 8 };
const MOST_UNREAD = 50;
const view = { trace: 0, node: null, folded: new Set(), evaluatedOnly: false, box: null };

function table(heads, rows, attributes) {
  const right = (head) => (head.startsWith(">") ? "right" : null);
  const top = h("tr", {}, heads.map((head) => h("th", { class: right(head) }, head.replace(/^>/, ""))));
  const body = rows.map((row) => h("tr", row.attributes, row.cells.map((cell, i) =>
    cell instanceof HTMLTableCellElement ? cell : h("td", { class: right(heads[i]) }, cell))));
  return h("div", { class: "scroll" }, h("table", attributes, h("thead", {}, top), h("tbody", {}, body)));
}

// --- numbers and names ------------------------------------------------------------------------

const isNumber = (value) => value !== null && value !== undefined;
const share = (value) => (isNumber(value) ? value.toFixed(2) : "–");
const count = (value) => value.toLocaleString("en");
const tokens = (used) => used.prompt_tokens + used.completion_tokens;
const plural = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
const cut = (text, length) => (text.length > length ? text.slice(0, length - 1).trimEnd() + "…" : text);

function money(value) {
  if (!isNumber(value)) return "–";
  return "$" + (value === 0 || value >= 1 ? value.toFixed(2) : value.toFixed(4));
}

function duration(seconds) {
  return seconds < 60 ? `${seconds.toFixed(1)} s` : `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

function total(trace) {
  const sum = { calls: 0, tokens: 0, cost: null };
  for (const used of Object.values(trace.solution.usage)) {
    sum.calls += used.calls;
    sum.tokens += tokens(used);
    if (isNumber(used.cost)) sum.cost = (sum.cost || 0) + used.cost;
  }
  return sum;
}

function passes(verdict) {
  if (!verdict) return null;
  return { passed: verdict.results.filter((result) => result.outcome === "passed").length, of: verdict.results.length };
}

const passText = (verdict) => {
  const seen = passes(verdict);
  return seen ? `${seen.passed}/${seen.of}` : "–";
};

function agentColour(trace, name) {
  const place = Object.keys(trace.solution.usage).indexOf(name);
  return place < 0 ? null : `hsl(${HUES[place % HUES.length]} 65% 52%)`;
}

const takenApart = (name) => {
  const found = /^([^\s@]+)@(https?:\/\/([^\s/]+)\S*)$/.exec(name || "");
  return found ? { model: found[1], host: found[3] } : { model: name, host: "" };
};

// Of an agent that is named by model and address the model, and its host where two are alike; as `called` in view/text.py.
function called(trace, name) {
  const own = takenApart(name);
  const rivals = Object.keys(trace.solution.usage).filter((other) => other !== name && takenApart(other).model === own.model);
  if (!own.host || !rivals.length) return own.model;
  return rivals.some((other) => takenApart(other).host === own.host) ? name : `${own.model}@${own.host}`;
}

const agent = (trace, name) =>
  h("span", { class: "by", title: name || "" }, h("span", { class: "dot", "--agent": agentColour(trace, name) }), called(trace, name) || "no one");

function bestAttempt(node) {
  return node.attempts.reduce((best, next) => (!best || next.reward > best.reward ? next : best), null);
}

// --- the tree ---------------------------------------------------------------------------------

function visible(trace) {
  const known = new Map(trace.nodes.map((node) => [node.id, node]));
  const best = new Set(pathOf(trace.solution.node));
  const children = (node) => (view.folded.has(node.id) ? [] : node.children
    .map((id) => known.get(id))
    .filter((child) => child && (!view.evaluatedOnly || isNumber(child.value) || child.children.length || best.has(child.id))));
  return { known, children };
}

const pathOf = (id) => (id ? id.split(".").map((_, i, all) => all.slice(0, i + 1).join(".")) : []);

function layout(root, children) {
  // Leaves take rows in order and parents the middle of theirs; without recursion, for deep trees.
  const places = new Map();
  const stack = [[root, false]];
  let row = 0;
  while (stack.length) {
    const [node, done] = stack.pop();
    const below = children(node);
    const x = (node.id.split(".").length - 1) * (BOX.width + BOX.gapX);
    if (!below.length) places.set(node.id, { node, x, y: row++ * (BOX.height + BOX.gapY) });
    else if (done) {
      const first = places.get(below[0].id).y, last = places.get(below[below.length - 1].id).y;
      places.set(node.id, { node, x, y: (first + last) / 2 });
    } else {
      stack.push([node, true]);
      for (let i = below.length - 1; i >= 0; i--) stack.push([below[i], false]);
    }
  }
  return places;
}

function drawTree(keepView) {
  const trace = traces[view.trace];
  const { known, children } = visible(trace);
  const canvas = byId("canvas");
  if (!known.has("0")) return put(canvas, h("p", { class: "quiet" }, "This search has no tree."));
  const places = layout(known.get("0"), children);
  const best = new Set(pathOf(trace.solution.node));
  const edges = [], nodes = [];
  for (const { node, x, y } of places.values()) {
    for (const child of children(node)) edges.push(drawEdge({ x, y }, places.get(child.id), best.has(child.id)));
    nodes.push(drawNode(trace, node, x, y));
  }
  const picture = svg("svg", { role: "group", "aria-label": "Search tree" }, edges, nodes);
  put(canvas, picture);
  if (!keepView) view.box = firstView(places, canvas, trace.solution.node);
  applyView(picture);
  makeMovable(picture);
}

function drawEdge(from, to, onBestPath) {
  const x1 = from.x + BOX.width, y1 = from.y + BOX.height / 2, y2 = to.y + BOX.height / 2;
  const middle = x1 + BOX.gapX / 2;
  return svg("path", { class: onBestPath ? "edge best" : "edge", d: `M${x1},${y1} C${middle},${y1} ${middle},${y2} ${to.x},${y2}` });
}

function drawNode(trace, node, x, y) {
  const thought = node.thought ? node.thought.text : "the problem itself";
  const attempt = bestAttempt(node);
  const program = attempt && trace.programs[attempt.program];
  const author = node.thought ? called(trace, node.thought.agent) : "";
  const facts = [isNumber(node.value) ? `V ${share(node.value)}` : "not evaluated", program ? passText(program.verdict) : "", author];
  const marks = [node.refined ? "↻" : "", node.pruned ? "✗" : "", node.id === trace.solution.node ? "★" : ""].join("");
  const kind = ["node", isNumber(node.value) ? "valued" : "", node.pruned ? "pruned" : "",
    node.id === trace.solution.node ? "best" : "", node.id === view.node ? "chosen" : ""].join(" ");
  return svg("g", {
    class: kind, transform: `translate(${x},${y})`, tabindex: 0, role: "button", "data-node": node.id,
    "aria-label": `Node ${node.id}: ${cut(thought, 120)}`, "--v": node.value || 0,
    click: () => choose(node.id), keydown: (event) => onKey(event, node),
  },
    svg("title", {}, cut(thought, 600)),
    svg("rect", { class: "box", width: BOX.width, height: BOX.height, rx: 6 }),
    svg("rect", { class: "author", width: 5, height: BOX.height, rx: 2, "--agent": agentColour(trace, author) }),
    svg("text", { class: "thought", x: 13, y: 18 }, cut(thought.replace(/\s+/g, " "), 33)),
    svg("text", { class: "small", x: 13, y: 35 }, cut(facts.filter(Boolean).join("  ·  "), 36)),
    svg("text", { class: "small", x: BOX.width - 8, y: 35, "text-anchor": "end" }, marks),
    node.children.length ? drawFold(node) : "");
}

function drawFold(node) {
  const folded = view.folded.has(node.id);
  return svg("g", {
    class: "fold", transform: `translate(${BOX.width},${BOX.height / 2})`,
    click: (event) => { event.stopPropagation(); toggleFold(node.id); },
  },
    svg("title", {}, folded ? "Show what is below" : "Hide what is below"),
    svg("circle", { r: 8 }),
    svg("text", { y: 3.5 }, folded ? node.children.length : "−"));
}

function toggleFold(id) {
  if (!view.folded.delete(id)) view.folded.add(id);
  drawTree(true);
}

function onKey(event, node) {
  const parent = node.parent && traces[view.trace].nodes.find((other) => other.id === node.parent);
  const beside = (step) => parent && parent.children[parent.children.indexOf(node.id) + step];
  const target = { ArrowLeft: node.parent, ArrowRight: node.children[0], ArrowUp: beside(-1), ArrowDown: beside(1), Enter: node.id, " ": node.id }[event.key];
  if (!target) return;
  event.preventDefault();
  choose(target);
  const drawn = [...byId("canvas").querySelectorAll(".node")].find((g) => g.dataset.node === target);
  if (drawn) drawn.focus();
}

// --- moving about -----------------------------------------------------------------------------

function extent(places) {
  const all = [...places.values()];
  return {
    width: Math.max(...all.map((place) => place.x)) + BOX.width + 24,
    height: Math.max(...all.map((place) => place.y)) + BOX.height + 24,
  };
}

function firstView(places, canvas, bestId) {
  const size = extent(places);
  const width = canvas.clientWidth || 800, height = canvas.clientHeight || 500;
  const zoom = Math.min(1.15, Math.max(0.8, Math.min(width / size.width, height / size.height)));
  const box = { x: -12, y: -12, width: width / zoom, height: height / zoom };
  if (size.height <= box.height) box.y = (size.height - 24 - box.height) / 2;
  else {
    const centre = places.get(places.has(bestId) ? bestId : "0");
    box.y = Math.max(-12, Math.min(centre.y + BOX.height / 2 - box.height / 2, size.height - box.height));
    if (size.width > box.width) box.x = Math.max(-12, Math.min(centre.x + BOX.width + 24 - box.width, size.width - box.width));
  }
  return box;
}

function fitAll() {
  const trace = traces[view.trace];
  const { known, children } = visible(trace);
  const size = extent(layout(known.get("0"), children));
  const canvas = byId("canvas");
  const zoom = Math.min(1.15, canvas.clientWidth / size.width, canvas.clientHeight / size.height);
  const width = canvas.clientWidth / zoom, height = canvas.clientHeight / zoom;
  view.box = { x: (size.width - 24 - width) / 2, y: (size.height - 24 - height) / 2, width, height };
  applyView(canvas.querySelector("svg"));
}

function applyView(picture) {
  const { x, y, width, height } = view.box;
  if (picture) picture.setAttribute("viewBox", `${x} ${y} ${width} ${height}`);
}

function zoomBy(factor, at) {
  const box = view.box, point = at || { x: 0.5, y: 0.5 };
  view.box = {
    x: box.x + box.width * (1 - factor) * point.x, y: box.y + box.height * (1 - factor) * point.y,
    width: box.width * factor, height: box.height * factor,
  };
  applyView(byId("canvas").querySelector("svg"));
}

function makeMovable(picture) {
  let from = null;
  picture.addEventListener("pointerdown", (event) => { from = { x: event.clientX, y: event.clientY, box: view.box, moved: false }; });
  picture.addEventListener("pointermove", (event) => {
    if (!from) return;
    const dx = event.clientX - from.x, dy = event.clientY - from.y;
    if (!from.moved && Math.hypot(dx, dy) < 4) return;
    if (!from.moved) { from.moved = true; picture.setPointerCapture(event.pointerId); picture.classList.add("moving"); }
    const scale = from.box.width / picture.clientWidth;
    view.box = { ...from.box, x: from.box.x - dx * scale, y: from.box.y - dy * scale };
    applyView(picture);
  });
  for (const end of ["pointerup", "pointercancel"]) picture.addEventListener(end, () => { from = null; picture.classList.remove("moving"); });
  picture.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const frame = picture.getBoundingClientRect();
    const at = { x: (event.clientX - frame.left) / frame.width, y: (event.clientY - frame.top) / frame.height };
    zoomBy(Math.exp(Math.max(-60, Math.min(60, event.deltaY)) / 200), at);
  }, { passive: false });
}

// --- one node ---------------------------------------------------------------------------------

function drawDetail() {
  const trace = traces[view.trace];
  const node = trace.nodes.find((other) => other.id === view.node);
  const detail = byId("detail");
  if (!node) return put(detail, h("p", { class: "quiet" }, "Choose a node of the tree."));
  const badges = { best: node.id === trace.solution.node, refined: node.refined, pruned: node.pruned, closed: node.closed };
  put(detail,
    h("h3", {}, `Node ${node.id}`, h("span", { class: "badges" }, Object.keys(badges).filter((key) => badges[key])
      .map((key) => h("span", { class: { best: "badge good", pruned: "badge bad" }[key] || "badge quiet" }, key)))),
    node.thought ? [agent(trace, node.thought.agent), h("p", { class: "prose" }, node.thought.text)]
      : h("p", { class: "quiet" }, "The root: programs here answer the problem directly, without any thought."),
    node.refined ? h("p", { class: "prose old" }, node.refined.text) : "",
    numbers(node), path(trace, node), node.attempts.map((attempt, i) => drawAttempt(trace, attempt, i)),
    unreadCalls(trace).filter((call) => call.node === node.id).map((call) => drawUnread(trace, call)));
  detail.scrollTop = 0;
}

function numbers(node) {
  const facts = [
    ["P, prior", node.thought ? share(node.thought.prior) : "–"], ["V, value", share(node.value)],
    ["Q, best return", node.returns ? share(node.best_return) : "–"], ["N, visits", node.visits],
    ["returns", node.returns], ["children", node.children.length],
  ];
  return h("div", { class: "numbers" }, facts.map(([name, value]) => h("span", {}, h("b", {}, value), " ", h("span", { class: "quiet" }, name))));
}

function path(trace, node) {
  const above = pathOf(node.id).slice(1, -1).map((id) => trace.nodes.find((other) => other.id === id)).filter((step) => step && step.thought);
  if (!above.length) return "";
  return h("details", {}, h("summary", { class: "quiet" }, plural(above.length, "thought") + " before this one"),
    h("ol", {}, above.map((step) => h("li", { class: "prose" }, step.thought.text))));
}

function drawAttempt(trace, attempt, number) {
  const program = trace.programs[attempt.program];
  const title = ["Program ", number + 1, attempt.refined ? " (for the refined thought)" : ""];
  if (!program) return [h("h4", {}, title), agent(trace, attempt.agent), h("p", { class: "quiet" }, "The reply held no program.")];
  const lines = new Set(program.verdict ? program.verdict.results.map((result) => result.line).filter(isNumber) : []);
  const seen = passes(program.verdict);
  return [
    h("h4", {}, title, seen ? h("span", { class: seen.passed === seen.of ? "good" : "bad" }, `  ${seen.passed} of ${plural(seen.of, "test")} passed`) : ""),
    agent(trace, attempt.agent), h("pre", { class: "whole" }, highlight(program.code, lines)), drawVerdict(program.verdict),
  ];
}

const unreadCalls = (trace) => trace.calls.filter((call) => call.unread);

function drawUnread(trace, call) {
  return h("div", { class: "unread" }, h("h4", {}, `A reply that could not be read (${call.purpose})`), agent(trace, call.agent),
    h("p", { class: "bad prose" }, call.unread), h("pre", {}, call.said || "(nothing)"));
}

function drawVerdict(verdict) {
  if (!verdict || !verdict.results.length) return "";
  const cell = (text) => h("td", { class: "cell" }, text);
  return table(["test", "result", "input", "expected", "actual"], verdict.results.map((result, i) => ({
    cells: [
      i + 1,
      h("td", { class: result.outcome === "passed" ? "good" : "bad" }, result.outcome),
      cell(result.shown), cell(result.expected),
      cell([result.actual, result.error ? (result.actual ? "\n" : "") + result.error : "", isNumber(result.line) ? ` (line ${result.line})` : ""]),
    ],
  })));
}

const KEYWORDS = new Set(("False None True and as assert async await break case class continue def del elif else except finally "
  + "for from global if import in is lambda match nonlocal not or pass raise return try while with yield").split(" "));
const TOKEN = /(#[^\n]*)|([rRbBfFuU]{0,2}(?:"""[\s\S]*?(?:"""|$)|'''[\s\S]*?(?:'''|$)|"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?))|(\b\d[\w.]*)|([A-Za-z_]\w*)/g;

function highlight(code, failing) {
  const pieces = [];
  let at = 0;
  for (const match of code.matchAll(TOKEN)) {
    const [text, comment, string, number, word] = match;
    const kind = comment ? "comment" : string ? "string" : number ? "number" : KEYWORDS.has(word) ? "keyword"
      : /^\s*\(/.test(code.slice(match.index + text.length, match.index + text.length + 20)) ? "name" : null;
    if (!kind) continue;
    pieces.push([null, code.slice(at, match.index)], [kind, text]);
    at = match.index + text.length;
  }
  pieces.push([null, code.slice(at)]);
  return inLines(pieces).map((line, i) => (failing.has(i + 1) ? h("span", { class: "failing", title: "a test failed here" }, line, "\n") : [line, "\n"]));
}

function inLines(pieces) {
  const lines = [[]];
  for (const [kind, text] of pieces) {
    text.split("\n").forEach((part, i) => {
      if (i) lines.push([]);
      if (part) lines[lines.length - 1].push(kind ? h("span", { class: kind }, part) : part);
    });
  }
  while (lines.length > 1 && !lines[lines.length - 1].length) lines.pop();
  return lines;
}

// --- the problem ------------------------------------------------------------------------------

function drawProblems() {
  if (traces.length < 2) return;
  const solved = traces.filter((trace) => trace.solution.solved).length;
  const rows = traces.map((trace, i) => {
    const sum = total(trace), solution = trace.solution;
    return {
      attributes: { class: i === view.trace ? "link chosen" : "link", tabindex: 0, click: () => open(i), keydown: (event) => event.key === "Enter" && open(i) },
      cells: [trace.problem.id, trace.problem.difficulty || "–", h("td", { class: solution.solved ? "good" : "bad" }, solution.solved ? "solved" : "not solved"),
        passText(solution.verdict), solution.agent ? agent(trace, solution.agent) : "–", sum.calls, count(sum.tokens), money(sum.cost), duration(solution.seconds), solution.stopped_by],
    };
  });
  byId("problems").hidden = false;
  put(byId("problems"), h("div", { class: "panel" }, h("h2", {}, `Problems: ${solved} of ${traces.length} solved`),
    table(["problem", "difficulty", "result", ">tests", "by", ">calls", ">tokens", ">cost", ">time", "stopped by"], rows)));
}

function unconfirmed(solution) {
  return solution.solved && !solution.confirmed && solution.stopped_by !== "solved";
}

function drawResult() {
  const trace = traces[view.trace], solution = trace.solution, sum = total(trace);
  const facts = [
    [solution.solved ? (unconfirmed(solution) ? "solved, not confirmed" : "solved") : "not solved", solution.problem_id,
      solution.solved ? "good" : "bad"],
    [passText(solution.verdict), "public tests"], [solution.agent || "–", solution.node ? `at node ${solution.node}` : "no program"],
    [solution.stopped_by, "stopped by"], [solution.tree.rollouts, "rollouts"], [solution.tree.nodes, `nodes, ${plural(solution.tree.programs, "program")}`],
    [count(sum.calls), "calls"], [count(sum.tokens), "tokens"], [money(sum.cost), "cost"], [duration(solution.seconds), "time"], [solution.tier || "–", "sandbox"],
  ];
  put(byId("result"), h("div", { class: "cards" }, facts.map(([value, name, kind]) =>
    h("div", { class: "card" }, h("b", { class: kind }, value), h("span", {}, name)))));
}

function drawTables() {
  const trace = traces[view.trace];
  put(byId("tables"), drawUsage(trace), drawUnreadAll(trace), drawMatrix(trace), drawStatement(trace), drawSettings(trace));
}

function drawUsage(trace) {
  const rows = Object.entries(trace.solution.usage).map(([name, used]) => ({
    cells: [agent(trace, name), used.calls, used.cached, used.failed, used.malformed, count(used.prompt_tokens), count(used.completion_tokens), money(used.cost), duration(used.seconds)],
  }));
  const aside = Object.entries(trace.solution.set_aside).map(([name, reason]) => h("p", { class: "bad prose" }, `${name} was set aside: ${reason}`));
  return h("div", { class: "panel" }, h("h2", {}, "Agents"),
    table(["agent", ">calls", ">cached", ">failed", ">unread", ">prompt", ">reply", ">cost", ">time"], rows), aside);
}

function drawUnreadAll(trace) {
  const calls = unreadCalls(trace);
  if (!calls.length) return h("div", { hidden: "" });
  const shown = calls.slice(0, MOST_UNREAD);
  return h("div", { class: "panel" }, h("h2", {}, `Replies that could not be read: ${calls.length}`),
    table(["agent", "for", "node", "why", "what it said"], shown.map((call) => ({
      cells: [agent(trace, call.agent), call.purpose, call.node, h("td", { class: "cell" }, call.unread), h("td", { class: "cell" }, call.said || "(nothing)")],
    }))), calls.length > shown.length ? h("p", { class: "quiet" }, `The first ${shown.length}; the nodes show the others.`) : "");
}

function drawMatrix(trace) {
  const matrix = trace.solution.matrix;
  const coders = Object.keys(trace.solution.usage).filter((name) => Object.values(matrix).some((row) => name in row));
  if (!coders.length) return h("div", { hidden: "" });
  const value = (number) => h("td", { class: isNumber(number) ? "value valued" : "value", "--v": number || 0 }, share(number));
  const rows = Object.entries(matrix).map(([author, row]) => ({
    cells: [author ? agent(trace, author) : h("span", { class: "quiet" }, "no thought"), coders.map((coder) => value(row[coder]))].flat(),
  }));
  return h("div", { class: "panel" }, h("h2", {}, "Mean reward: thought by (rows), program by (columns)"), table(["", ...coders.map((name) => called(trace, name))], rows));
}

function drawStatement(trace) {
  const problem = trace.problem;
  const tests = problem.public_tests.map((test) => {
    if (test.kind === "stdin") return `stdin: ${JSON.stringify(test.stdin)}  ->  ${test.expected.map((text) => JSON.stringify(text)).join(" or ")}`;
    return test.kind === "call" ? `${test.call}  ->  ${test.expected.join(" or ")}` : test.code;
  });
  return h("div", { class: "panel" }, h("h2", {}, "Problem"), h("p", { class: "prose" }, problem.statement),
    problem.starter_code ? h("pre", {}, highlight(problem.starter_code, new Set())) : "",
    h("h4", {}, "Public tests"), h("pre", { class: "whole" }, tests.join("\n")));
}

function drawSettings(trace) {
  const rows = [];
  for (const [group, value] of Object.entries(trace.settings)) {
    const nested = value !== null && typeof value === "object" && !Array.isArray(value);
    for (const [key, inner] of nested ? Object.entries(value) : [["", value]])
      rows.push({ cells: [[group, key].filter(Boolean).join("."), h("td", { class: "cell" }, JSON.stringify(inner))] });
  }
  return h("div", { class: "panel" }, h("h2", {}, "Settings"), h("details", {}, h("summary", { class: "quiet" }, `${rows.length} settings`), table(["setting", "value"], rows)));
}

// --- putting it together ----------------------------------------------------------------------

function choose(id) {
  view.node = id;
  for (const drawn of byId("canvas").querySelectorAll(".node")) drawn.classList.toggle("chosen", drawn.dataset.node === id);
  drawDetail();
}

function open(number) {
  const trace = traces[number];
  Object.assign(view, { trace: number, node: trace.solution.node || "0", folded: new Set(), evaluatedOnly: trace.nodes.length > 40 });
  drawProblems();
  drawResult();
  drawToolbar();
  drawTree(false);
  drawDetail();
  drawTables();
}

function drawToolbar() {
  const box = h("input", { type: "checkbox", change: (event) => { view.evaluatedOnly = event.target.checked; drawTree(false); } });
  box.checked = view.evaluatedOnly;
  put(byId("toolbar"),
    h("h2", {}, "Search tree"),
    h("button", { type: "button", "aria-label": "Zoom in", click: () => zoomBy(0.8) }, "+"),
    h("button", { type: "button", "aria-label": "Zoom out", click: () => zoomBy(1.25) }, "−"),
    h("button", { type: "button", click: fitAll }, "Fit"),
    h("button", { type: "button", click: () => { choose(traces[view.trace].solution.node || "0"); drawTree(false); } }, "Best"),
    h("label", {}, box, " evaluated nodes only"));
  put(byId("legend"),
    h("span", {}, "value 0 ", h("span", { class: "scale" }), " 1"), h("span", {}, "★ best"), h("span", {}, "↻ refined"), h("span", {}, "✗ pruned"),
    Object.keys(traces[view.trace].solution.usage).map((name) => agent(traces[view.trace], name)),
    h("span", {}, "drag to move, Ctrl and wheel to zoom, arrow keys to walk"));
}

if (traces.length) {
  const first = traces[0];
  byId("meta").textContent = [first.created, first.package && `bdc-agents ${first.package}`].filter(Boolean).join("  ·  ");
  open(0);
} else {
  byId("result").textContent = "This run holds no trace yet.";
}
