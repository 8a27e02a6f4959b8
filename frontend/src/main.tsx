// The page: reads its data, and keeps what is shown: which problem, node and moment.

import { render, type JSX } from "preact";
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { addressOf, readAddress } from "./address";
import { Agent, agentsOf, AgentsContext } from "./agents";
import { Answer } from "./answer";
import { Canvas, Overview, SCALES } from "./canvas";
import { Detail, type Steer } from "./detail";
import { Facts } from "./facts";
import { isIdle, layout } from "./layout";
import { Form, LiveBar, useLive, type Asked } from "./live";
import { indexOf, Problems } from "./problems";
import { pathTo, Replay, ROOT, searchOf, type Search } from "./search";
import { Timeline } from "./timeline";
import type { PageData, Trace, TreeNode } from "./trace";
import { plain, plural, Text } from "./text";

const LEGIBLE = 0.75; // Scale at which a thought can still be read well.
const FEW = 12; // Nodes of which an overview would show no more than the tree beside it.

function Page({ data }: { data: PageData }): JSX.Element {
  const { live } = data;
  const { state, client, look, refresh } = useLive(live, data.traces[0] ?? null);
  const traces = useMemo(() => (live ? (state.trace ? [state.trace] : []) : data.traces), [live, state.trace, data]);
  const agents = useMemo(() => agentsOf({ ...data, traces }), [data, traces]);
  const [at, setAt] = useState(() => Math.max(0, indexOf(data.traces, readAddress(location.hash).problem)));
  const [asked, ask] = useState<Asked | null>(null);
  const trace = traces[Math.min(at, traces.length - 1)];

  useEffect(() => {
    const follow = (): void => {
      const found = indexOf(traces, readAddress(location.hash).problem);
      if (found >= 0) setAt(found);
    };
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, [traces]);
  const open = useCallback((index: number) => {
    setAt(index);
    history.pushState(null, "", addressOf({ problem: traces[index]!.problem.id }));
  }, [traces]);
  const steer = useMemo<Steer | null>(() => {
    if (!live || state.checkpoint !== null) return null;
    const kinds = (["edit", "add", "veto"] as const).filter((kind) => live.urls[kind]);
    return Object.fromEntries(kinds.map((kind) => [kind, (node: TreeNode) => ask({ kind, node })]));
  }, [live, state.checkpoint]);

  return (
    <AgentsContext.Provider value={agents}>
      {live && client && <LiveBar live={live} state={state} client={client} look={look} ask={ask} />}
      {!live && traces.length > 1 && <Problems traces={traces} at={at} agents={agents.names} open={open} />}
      {trace
        ? <Problem key={live ? "live" : at} trace={trace} title={data.title} many={traces.length > 1} step={(by) => open((at + by + traces.length) % traces.length)} steer={steer} busy={!!live && state.status === "busy"} />
        : <p class="panel quiet">{live ? "This search has not begun yet; its tree will appear here." : "This run holds no trace yet."}</p>}
      {asked && live && client && <Form asked={asked} live={live} state={state} client={client} close={() => ask(null)} done={() => { ask(null); refresh(); }} />}
    </AgentsContext.Provider>
  );
}

function Problem({ trace, title, many, step, steer, busy }: { trace: Trace; title: string; many: boolean; step: (by: number) => void; steer: Steer | null; busy: boolean }): JSX.Element {
  const search = useMemo(() => searchOf(trace), [trace]);
  const first = useMemo(() => readAddress(location.hash), []);
  const own = first.problem === undefined || first.problem === trace.problem.id ? first : {};
  const [node, setNode] = useState(() => (own.node && search.nodes.has(own.node) ? own.node : search.answer ?? ROOT));
  // Null is the end, wherever that is by then: a live search moves it on.
  const [moment, setMoment] = useState<number | null>(() => (own.call !== undefined && own.call < search.calls.length ? own.call : null));
  const [summons, summon] = useState(0);
  const after = Math.min(moment ?? search.calls.length, search.calls.length);
  const replay = useMemo(() => new Replay(search, after), [search, after]);
  const touched = useRef(false);

  const choose = useCallback((id: string) => { touched.current = true; setNode(id); }, []);
  const go = useCallback((id: string) => { choose(id); summon((n) => n + 1); }, [choose]);
  const move = useCallback((to: number) => { touched.current = true; setMoment(to >= search.calls.length ? null : to); }, [search]);
  useEffect(() => {
    // Nothing is written into the address before somebody chose something.
    if (!touched.current) return;
    const timer = setTimeout(() => history.replaceState(null, "", addressOf({ problem: trace.problem.id, node, call: moment ?? undefined })), 200);
    return () => clearTimeout(timer);
  }, [node, moment, trace]);
  useEffect(() => {
    const follow = (): void => {
      const found = readAddress(location.hash);
      if (found.problem !== undefined && found.problem !== trace.problem.id) return;
      if (found.node && search.nodes.has(found.node)) { setNode(found.node); summon((n) => n + 1); }
      setMoment(found.call ?? null);
    };
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, [search]);
  const shown = search.nodes.has(node) ? node : ROOT;

  return (
    <article aria-label={plain(trace.problem.id, 120)}>
      <header class="problem-head">
        {title !== trace.problem.id && <h2 class="problem-id"><Text most={120}>{trace.problem.id}</Text></h2>}
        {many && <div class="row"><button type="button" onClick={() => step(-1)} aria-label="Previous problem">{"\u2039 previous"}</button><button type="button" onClick={() => step(1)} aria-label="Next problem">{"next \u203a"}</button></div>}
      </header>
      <Answer search={search} choose={go} busy={busy} />
      {search.nodes.has(ROOT) ? (
        <div class="work">
          <section class="panel tree" aria-label="The search">
            <Timeline search={search} after={after} move={move} choose={go} />
            <TreeView search={search} replay={replay} chosen={shown} choose={choose} summons={summons} go={go} busy={busy} />
          </section>
          <aside class="panel" aria-label="The chosen node"><Detail search={search} replay={replay} id={shown} choose={go} steer={steer} /></aside>
        </div>
      ) : <p class="panel quiet">This search has no tree.</p>}
      <Facts search={search} choose={go} move={move} />
      <Outline search={search} />
    </article>
  );
}

function TreeView({ search, replay, chosen, choose, summons, go, busy }: {
  search: Search; replay: Replay; chosen: string; choose: (id: string) => void; summons: number; go: (id: string) => void; busy: boolean;
}): JSX.Element {
  const [closed, setClosed] = useState<ReadonlySet<string>>(new Set()), [opened, setOpened] = useState<ReadonlySet<string>>(new Set());
  const [scale, setScale] = useState(1), [words, setWords] = useState("");
  const [inSight, tell] = useState<string[]>([]), [own, summonSelf] = useState(0);
  const frame = useRef<HTMLDivElement>(null);
  // What is chosen can be seen: what is folded above it opens.
  const folds = useMemo(() => {
    const above = pathTo(chosen).slice(0, -1), parent = above[above.length - 1];
    return {
      closed: above.some((id) => closed.has(id)) ? new Set([...closed].filter((id) => !above.includes(id))) : closed,
      opened: parent !== undefined && !opened.has(parent) && isIdle(search, chosen) ? new Set([...opened, parent]) : opened,
    };
  }, [search, closed, opened, chosen]);
  useEffect(() => { if (folds.closed !== closed) setClosed(folds.closed); if (folds.opened !== opened) setOpened(folds.opened); }, [folds]);
  const drawing = useMemo(() => layout(search, folds), [search, folds]);
  const hits = useMemo(() => find(search, words), [search, words]), found = useMemo(() => new Set(hits), [hits]);
  const zoom = useCallback((to: number) => setScale(Math.max(SCALES.least, Math.min(SCALES.most, to))), []);
  const fold = useCallback((id: string) => setClosed((old) => { const next = new Set(old); if (!next.delete(id)) next.add(id); return next; }), []);
  const unfoldRest = useCallback((id: string) => setOpened((old) => new Set([...old, id])), []);
  const fitting = (): number => {
    const box = frame.current!.querySelector<HTMLElement>(".canvas")!;
    return Math.min(1, (box.clientWidth - 60) / drawing.width, (box.clientHeight - 60) / drawing.height);
  };
  const fit = (): void => { zoom(fitting()); summonSelf((n) => n + 1); };
  // A tree that nearly fits is shown whole.
  useLayoutEffect(() => {
    const whole = fitting();
    if (whole < 1 && whole >= LEGIBLE) fit();
  }, [search.trace.problem.id]);
  const inner = useMemo(() => search.trace.nodes.filter((node) => node.id !== ROOT && node.children.length).map((node) => node.id), [search]);
  const next = (by: number): void => {
    if (!hits.length) return;
    const now = hits.indexOf(chosen);
    go(hits[(now + by + hits.length + (now < 0 && by < 0 ? 1 : 0)) % hits.length]!);
  };
  const many = search.trace.nodes.length > FEW;
  const idle = useMemo(() => search.trace.nodes.filter((node) => isIdle(search, node.id)).length, [search]);
  return (
    <>
      <div class="toolbar" role="toolbar" aria-label="Tree">
        <h2>{plural(search.trace.nodes.length, "node")}{idle > 0 && <span class="quiet">{`, ${idle} not evaluated`}</span>}{busy && <span class="tag good">growing</span>}</h2>
        <span class="push" />
        <span class="find">
          <input type="search" placeholder="Find in the tree" aria-label="Find a thought or a program in the tree" value={words} onInput={(event) => setWords(event.currentTarget.value)}
            onKeyDown={(event) => { if (event.key === "Enter") { event.preventDefault(); next(event.shiftKey ? -1 : 1); } }} />
          {words && <span class="quiet" role="status">{hits.length ? `${Math.max(0, hits.indexOf(chosen)) + (found.has(chosen) ? 1 : 0)} of ${hits.length}` : "nothing"}</span>}
        </span>
        {inner.length > 1 && <button type="button" onClick={() => setClosed(closed.size ? new Set() : new Set(inner.filter((id) => !search.onPath.has(id))))}>{closed.size ? "Unfold all" : "Fold"}</button>}
        {search.answer && <button type="button" onClick={() => go(search.answer!)}>{`\u2605 ${search.trace.solution.solved ? "Answer" : "Best"}`}</button>}
        <span class="join"><button type="button" class="icon" onClick={() => zoom(scale * 0.8)} aria-label="Zoom out">{"\u2212"}</button>
          <button type="button" onClick={fit}>Fit</button><button type="button" class="icon" onClick={() => zoom(scale * 1.25)} aria-label="Zoom in">+</button></span>
      </div>
      <div class="stage" ref={frame} style={{ "--tall": `${Math.ceil(drawing.height * scale) + 64}px` }}>
        {many && <Overview search={search} replay={replay} chosen={chosen} found={found} inSight={inSight} go={go} />}
        <Canvas search={search} replay={replay} drawing={drawing} chosen={chosen} found={found} scale={scale} setScale={zoom} closed={folds.closed} choose={choose} fold={fold} unfoldRest={unfoldRest} summons={summons + own} tell={tell} />
      </div>
      <Legend search={search} />
    </>
  );
}

function Legend({ search }: { search: Search }): JSX.Element {
  return (
    <p class="legend quiet">
      {Object.keys(search.trace.solution.usage).slice(0, 12).map((name) => <Agent name={name} />)}
      <span><span class="sign pass" aria-hidden="true">{"\u2713"}</span> passes</span><span><span class="sign part" aria-hidden="true">{"\u25d0"}</span> in part</span>
      <span><span class="sign wrong" aria-hidden="true">{"\u2717"}</span> wrong</span><span><span class="sign error" aria-hidden="true">!</span> error</span>
      <span class="keys"><kbd>{"\u2190\u2191\u2193\u2192"}</kbd> walk, <kbd>Enter</kbd> folds, <kbd>+</kbd> <kbd>{"\u2212"}</kbd> zoom</span>
    </p>
  );
}

const MOST_FOUND = 2000;

/** The nodes whose id, thought, agent or programs hold all the words, parents first. */
function find(search: Search, words: string): string[] {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  if (!wanted.length) return [];
  const found: string[] = [];
  for (const node of search.trace.nodes) {
    const text = [node.id, node.thought?.text ?? "", node.thought?.agent ?? "", ...(search.written.get(node.id) ?? []).map((one) => `${one.attempt.agent} ${one.program?.code.slice(0, 20_000) ?? ""}`)].join("\n").toLowerCase();
    if (wanted.every((word) => text.includes(word)) && found.push(node.id) >= MOST_FOUND) break;
  }
  return found;
}

/** The tree as lines, on paper alone. */
function Outline({ search }: { search: Search }): JSX.Element | null {
  const [printing, print] = useState(false);
  useEffect(() => {
    const on = (): void => print(true), off = (): void => print(false);
    addEventListener("beforeprint", on);
    addEventListener("afterprint", off);
    return () => { removeEventListener("beforeprint", on); removeEventListener("afterprint", off); };
  }, []);
  if (!printing) return null;
  return (
    <section class="outline">
      <h2>The tree</h2>
      {search.trace.nodes.filter((node) => !isIdle(search, node.id)).slice(0, MOST_FOUND).map((node) => (
        <p style={{ paddingLeft: `${(node.id.split(".").length - 1) * 1.2}em` }}><b>{node.id}</b> {node.value === null ? "\u2013" : node.value.toFixed(2)} {plain(node.thought?.text ?? "the problem itself", 200)} {node.id === search.answer ? "\u2605" : ""}</p>))}
    </section>
  );
}

const data = JSON.parse(document.getElementById("data")!.textContent!) as PageData;
render(<Page data={data} />, document.getElementById("page")!);
