// The tree as boxes in a window that scrolls. Only boxes in sight are drawn, so that ten thousand cost what fifty do.

import type { ComponentChildren, CSSProperties, TargetedMouseEvent, TargetedPointerEvent, JSX } from "preact";
import { useContext, useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { AgentsContext, lookOf, Mark } from "./agents";
import { BOX, icicle, neighbour, type Drawing, type Item } from "./layout";
import { answerName, bestOf, outcomeOf, pathTo, type Replay, type Search } from "./search";
import { isCurrent } from "./timeline";
import { cut, plain, plural, seen, share } from "./text";
import { Bar, Passed, Sign } from "./ui";

const MARGIN = 24; // Around the tree, in pixels of the screen.
const AHEAD = 240; // What is drawn beyond the edge of the window, so that a flick of the wheel shows no holes.
const GRID = 120; // Scrolling draws anew only after so many pixels.
export const SCALES = { least: 0.12, most: 1.5 };
const FAR = 0.62; // Below it a thought cannot be read: boxes show their value instead.
const TINY = 0.3; // And below that nothing can: boxes are blocks.
const MOST_TEXT = 160; // Characters of a thought in a box, of which two lines are seen.

interface Sight { left: number; top: number; right: number; bottom: number }

export interface CanvasProps {
  search: Search;
  replay: Replay;
  drawing: Drawing;
  chosen: string;
  found: ReadonlySet<string>;
  scale: number;
  setScale: (scale: number) => void;
  closed: ReadonlySet<string>;
  choose: (id: string) => void;
  fold: (id: string) => void;
  unfoldRest: (id: string) => void;
  /** Counts up where the chosen node is to be brought into the middle. */
  summons: number;
  /** Told which boxes are in the window, as far as they have no others behind them. */
  tell: (inSight: string[]) => void;
}

export function Canvas(props: CanvasProps): JSX.Element {
  const { search, drawing, chosen, scale, replay } = props;
  const frame = useRef<HTMLDivElement>(null);
  const [sight, look] = useState<Sight>({ left: 0, top: 0, right: 1000, bottom: 600 });
  const [focused, setFocused] = useState(chosen);
  const wanted = useRef<string | null>(null);
  const size = { width: drawing.width * scale + 2 * MARGIN, height: drawing.height * scale + 2 * MARGIN };

  const measure = (): void => {
    const box = frame.current;
    if (!box) return;
    const snap = (value: number): number => Math.floor(value / GRID) * GRID;
    const next = {
      left: snap(box.scrollLeft - AHEAD), top: snap(box.scrollTop - AHEAD),
      right: snap(box.scrollLeft + box.clientWidth + AHEAD + GRID), bottom: snap(box.scrollTop + box.clientHeight + AHEAD + GRID),
    };
    look((old) => (old.left === next.left && old.top === next.top && old.right === next.right && old.bottom === next.bottom ? old : next));
  };
  useEffect(() => {
    const box = frame.current!;
    const watch = new ResizeObserver(measure);
    watch.observe(box);
    return () => watch.disconnect();
  }, []);
  useWheel(frame, props);
  useLayoutEffect(measure, [drawing, scale]);

  const show = (item: Item, centre: boolean): void => {
    const box = frame.current!;
    const x = item.x * scale + MARGIN, y = item.y * scale + MARGIN, w = BOX.width * scale, h = item.height * scale;
    const pad = 40;
    const along = (at: number, long: number, from: number, room: number): number => {
      if (centre) return at - (room - long) / 2;
      if (at - pad < from || long + 2 * pad > room) return at - pad;
      return at + long + pad > from + room ? at + long + pad - room : from;
    };
    // A box whose line has scrolled by still stands at the edge, as long as what hangs on it is in sight.
    const stays = !centre && y < box.scrollTop && item.end * scale + MARGIN - h > box.scrollTop + pad;
    const top = stays ? box.scrollTop : along(y, h, box.scrollTop, box.clientHeight);
    box.scrollTo({ left: along(x, w, box.scrollLeft, box.clientWidth), top, behavior: "instant" });
    measure();
  };
  useLayoutEffect(() => {
    const item = drawing.byKey.get(chosen);
    if (!item) return;
    setFocused(chosen);
    show(item, true);
  }, [props.summons, search]);
  // The one that takes the focus may not have been drawn yet.
  useLayoutEffect(() => {
    if (wanted.current === null) return;
    const target = [...frame.current!.querySelectorAll<HTMLElement>("[data-key]")].find((box) => box.dataset["key"] === wanted.current);
    if (!target) return;
    wanted.current = null;
    target.focus({ preventScroll: true });
  });

  const go = (item: Item): void => {
    wanted.current = item.key;
    setFocused(item.key);
    show(item, false);
    if (item.node) props.choose(item.id);
  };
  const onKey = (event: KeyboardEvent): void => {
    const item = drawing.byKey.get((event.target as HTMLElement).dataset?.["key"] ?? "");
    if (!item || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      if (!item.node) return open(item);
      return item.node.children.length ? props.fold(item.id) : props.choose(item.id);
    }
    if (event.key === "+" || event.key === "-") return props.setScale(scale * (event.key === "+" ? 1.25 : 0.8));
    if (event.key === "ArrowRight" && props.closed.has(item.id) && item.node?.children.length) { event.preventDefault(); return props.fold(item.id); }
    const next = neighbour(drawing, item, event.key);
    if (!next && !/^(Arrow|Home|End)/.test(event.key)) return;
    event.preventDefault();
    if (next) go(next);
  };
  const open = (item: Item): void => {
    wanted.current = item.hidden[0]!;
    setFocused(item.hidden[0]!);
    props.unfoldRest(item.id);
  };

  const real = { left: (sight.left - MARGIN) / scale, right: (sight.right - MARGIN) / scale, top: (sight.top - MARGIN) / scale, bottom: (sight.bottom - MARGIN) / scale };
  const visible = useMemo(() => drawing.items.filter((item) =>
    item.x < real.right && item.x + BOX.width > real.left && item.y < real.bottom && item.end > real.top), [drawing, sight, scale]);
  useEffect(() => {
    const box = frame.current!, top = (box.scrollTop - MARGIN) / scale, bottom = top + box.clientHeight / scale;
    const there = visible.filter((item) => item.end > top && item.y < bottom), seen = new Set(there);
    props.tell(there.filter((item) => !item.kids.some((kid) => seen.has(kid))).map((item) => item.id));
  }, [visible]);
  const edges = useMemo(() => drawing.items.filter((item) => {
    const from = item.parent;
    if (!from || from.x + BOX.width > real.right || item.x < real.left) return false;
    const a = from.y + from.height / 2, b = item.y + item.height / 2;
    return Math.min(a, b) < real.bottom && Math.max(a, b) > real.top;
  }), [drawing, sight, scale]);
  // Somebody who comes by the tab key lands on a box that is there.
  const entry = drawing.byKey.has(focused) ? focused : drawing.byKey.has(chosen) ? chosen : "0";
  const drawn = visible.some((item) => item.key === entry) ? visible : [...visible, ...drawing.items.filter((item) => item.key === entry)];
  const kind = scale < TINY ? "canvas far tiny" : scale < FAR ? "canvas far" : "canvas";

  return (
    <div class={kind} ref={frame} onScroll={measure} onPointerDown={drag} data-drawn={drawn.length}>
      <div class="sheet" style={{ width: `${size.width}px`, height: `${size.height}px` }}>
        <div class="inset" style={{ left: `${MARGIN}px`, top: `${MARGIN}px` }}><div class="scaled" style={{ zoom: scale, width: `${drawing.width}px`, height: `${drawing.height}px` }}>
          <svg class="edges" width={drawing.width} height={drawing.height} aria-hidden="true">
            {edges.map((item) => <Edge key={item.key} item={item} search={search} replay={replay} />)}
          </svg>
          <div role="tree" aria-label="Search tree" onKeyDown={onKey}>
            {drawn.map((item) => (item.node
              ? <Box key={item.key} item={item} {...props} entry={item.key === entry} take={() => { setFocused(item.key); props.choose(item.id); }} />
              : <Rest key={item.key} item={item} entry={item.key === entry} open={() => open(item)} ghost={!replay.at(item.hidden[0]!).born} />))}
          </div>
        </div></div>
      </div>
    </div>
  );
}

/** Ctrl and the wheel, or two fingers on a pad, zoom to where the pointer is. */
function useWheel(frame: { current: HTMLDivElement | null }, { scale, setScale }: CanvasProps): void {
  const now = useRef(scale);
  now.current = scale;
  const hold = useRef<{ x: number; y: number; left: number; top: number; scale: number } | null>(null);
  useEffect(() => {
    const box = frame.current!;
    const turn = (event: WheelEvent): void => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      const place = box.getBoundingClientRect();
      hold.current = { x: event.clientX - place.left, y: event.clientY - place.top, left: box.scrollLeft, top: box.scrollTop, scale: now.current };
      setScale(now.current * Math.exp(-Math.max(-60, Math.min(60, event.deltaY)) / 200));
    };
    box.addEventListener("wheel", turn, { passive: false });
    return () => box.removeEventListener("wheel", turn);
  }, []);
  const last = useRef(scale);
  useLayoutEffect(() => {
    const box = frame.current!, was = last.current;
    last.current = scale;
    if (was === scale) return;
    const at = hold.current ?? { x: box.clientWidth / 2, y: box.clientHeight / 2, left: box.scrollLeft, top: box.scrollTop, scale: was };
    hold.current = null;
    box.scrollLeft = (at.left + at.x - MARGIN) * (scale / was) + MARGIN - at.x;
    box.scrollTop = (at.top + at.y - MARGIN) * (scale / was) + MARGIN - at.y;
  }, [scale]);
}

/** Dragging with the mouse moves the sheet; a finger scrolls it anyway. */
function drag(event: TargetedPointerEvent<HTMLDivElement>): void {
  if (event.pointerType !== "mouse" || event.button !== 0) return;
  const box = event.currentTarget, from = { x: event.clientX, y: event.clientY, left: box.scrollLeft, top: box.scrollTop };
  if (from.x - box.getBoundingClientRect().left > box.clientWidth || from.y - box.getBoundingClientRect().top > box.clientHeight) return; // its scroll bars
  let moved = false;
  const move = (to: PointerEvent): void => {
    if (!moved && Math.hypot(to.clientX - from.x, to.clientY - from.y) < 4) return;
    moved = true;
    box.classList.add("moving");
    box.scrollLeft = from.left - (to.clientX - from.x);
    box.scrollTop = from.top - (to.clientY - from.y);
  };
  const swallow = (click: Event): void => { click.stopPropagation(); click.preventDefault(); };
  const end = (): void => {
    removeEventListener("pointermove", move);
    removeEventListener("pointerup", end);
    removeEventListener("pointercancel", end);
    box.classList.remove("moving");
    if (!moved) return;
    box.addEventListener("click", swallow, { capture: true, once: true });
    setTimeout(() => box.removeEventListener("click", swallow, { capture: true }), 0);
  };
  addEventListener("pointermove", move);
  addEventListener("pointerup", end);
  addEventListener("pointercancel", end);
}

function Edge({ item, search, replay }: { item: Item; search: Search; replay: Replay }): JSX.Element {
  const from = item.parent!, x = from.x + BOX.width, y = from.y + from.height / 2, to = item.y + item.height / 2, middle = x + BOX.gapX * 0.6;
  const ghost = !replay.at(item.node ? item.id : item.hidden[0]!).born;
  const best = item.node && search.onPath.has(item.id) && replay.whole;
  return <path class={`edge ${best ? "best" : ""} ${ghost ? "ghost" : ""}`} d={`M${x},${y}H${middle}V${to}H${item.x}`} />;
}

/** A lane as long as what hangs on a box, in which the box stays in sight. */
const Lane = ({ item, children }: { item: Item; children: ComponentChildren }): JSX.Element => (
  <div class="lane" style={{ left: `${item.x}px`, top: `${item.y}px`, width: `${BOX.width}px`, height: `${item.end - item.y}px` }}>{children}</div>
);
const sizeOf = (item: Item): CSSProperties => ({ height: `${item.height}px` });

function Box({ item, search, replay, chosen, found, closed, entry, take, fold }: CanvasProps & { item: Item; entry: boolean; take: () => void }): JSX.Element {
  const node = item.node!, now = replay.at(node.id), best = bestOf(now.written);
  const answer = node.id === search.answer && replay.whole;
  const thought = node.thought && node.refined && (search.refinedBy.get(node.id) ?? -1) >= replay.after ? node.refined : node.thought;
  const text = thought?.text ?? "The problem itself";
  const pruned = node.pruned && replay.whole, folded = closed.has(node.id);
  const { colour } = lookOf(useContext(AgentsContext), thought?.agent ?? "");
  const kinds = ["node", colour === null ? "" : `agent-${colour}`, now.born ? "" : "ghost", answer ? "answer" : "", pruned ? "pruned" : "", node.id === chosen ? "chosen" : "",
    found.has(node.id) ? "found" : "", isCurrent(search, replay.after, node.id) ? "current" : ""].filter(Boolean).join(" ");
  return (
    <Lane item={item}><div class={kinds} style={{ ...sizeOf(item), "--v": String(Math.round(100 * (now.value ?? 0))) }} role="treeitem" tabIndex={entry ? 0 : -1} data-key={item.key} data-node={node.id}
      aria-level={item.depth + 1} aria-posinset={item.place} aria-setsize={item.of} aria-selected={node.id === chosen}
      aria-expanded={node.children.length ? !folded : undefined} onClick={take}>
      <span class="hear">{`${node.id}${now.born ? "" : ", not there yet"} `}</span>
      {now.born && (
        <>
          <span class="top">
            {thought ? <><Mark name={thought.agent} /><bdi class="who">{seen(cut(thought.agent.replace(/@https?:.*/, ""), 40))}</bdi></> : <span class="who">root</span>}
            {answer && <span class="tag good">{"\u2605"} {answerName(search.trace)}</span>}
            {node.kind && <span class="tag">{node.kind}</span>}
            {thought?.agent !== node.thought?.agent || !node.refined || !replay.whole ? null : <span class="tag">refined</span>}
            {pruned && <span class="tag">pruned</span>}
          </span>
          <span class="thought">{seen(cut(text, MOST_TEXT))}</span>
          <span class="bottom">
            {best ? <><Sign outcome={outcomeOf(best.program)} /><Bar value={now.value} /><b>{share(now.value)}</b><span class="quiet"><Passed verdict={best.program?.verdict} /></span>
              {now.written.length > 1 && <span class="quiet">{`\u00d7${now.written.length}`}</span>}</>
              : <span class="quiet">{now.value === null ? "not evaluated" : `value ${share(now.value)}`}</span>}
          </span>
          <span class="big" aria-hidden="true">{now.value === null ? "\u2013" : share(now.value)}</span>
        </>
      )}
      {node.children.length > 0 && now.born && (
        <span class="fold" title={folded ? "Show what is below" : "Hide what is below"} aria-hidden="true"
          onClick={(event) => { event.stopPropagation(); fold(node.id); }}>{folded ? node.children.length : "\u2212"}</span>
      )}
    </div></Lane>
  );
}

function Rest({ item, entry, open, ghost }: { item: Item; entry: boolean; open: () => void; ghost: boolean }): JSX.Element {
  return (
    <Lane item={item}><div class={`node rest ${ghost ? "ghost" : ""}`} style={sizeOf(item)} role="treeitem" tabIndex={entry ? 0 : -1} data-key={item.key} aria-level={item.depth + 1}
      aria-posinset={item.place} aria-setsize={item.of} aria-expanded={false} aria-selected={false} aria-label={`${item.hidden.length} not evaluated; show them`} onClick={open}>
      {!ghost && <span>{`${item.hidden.length} not evaluated`}</span>}
    </div></Lane>
  );
}

// --- the overview -----------------------------------------------------------------------------

const EDGE = 6; // Pixels at the side, for the bracket.
const AGAIN = 2; // Pixels below which bars of siblings are drawn as one.

/** The whole tree, however large, as bars: a click goes there. */
export function Overview({ search, replay, chosen, found, inSight, go }: {
  search: Search; replay: Replay; chosen: string; found: ReadonlySet<string>; inSight: string[]; go: (id: string) => void;
}): JSX.Element {
  const canvas = useRef<HTMLCanvasElement>(null);
  const { bars, depth } = useMemo(() => icicle(search), [search]);
  const [size, resize] = useState({ width: 0, height: 0 });
  const [themed, retheme] = useState(0);
  useEffect(() => {
    const watch = new ResizeObserver(([entry]) => resize({ width: entry!.contentRect.width, height: entry!.contentRect.height }));
    watch.observe(canvas.current!);
    const dark = matchMedia("(prefers-color-scheme: dark)"), again = (): void => retheme((n) => n + 1);
    dark.addEventListener("change", again);
    return () => { watch.disconnect(); dark.removeEventListener("change", again); };
  }, []);
  useEffect(() => {
    if (size.width) paint(canvas.current!, size, bars, depth, search, replay, chosen, found, inSight);
  }, [size, bars, search, replay, chosen, found, inSight, themed]);
  const at = (event: TargetedMouseEvent<HTMLCanvasElement>): string | null => {
    const frame = event.currentTarget.getBoundingClientRect();
    const column = Math.floor(((event.clientX - frame.left - EDGE) / (frame.width - EDGE)) * (depth + 1)), y = (event.clientY - frame.top) / frame.height;
    return bars.find((bar) => bar.depth === column && bar.from <= y && y < bar.to)?.id ?? null;
  };
  return (
    <canvas ref={canvas} class="overview" role="img" aria-label={`Overview of ${plural(search.trace.nodes.length, "node")}: each bar is a node, darker with its value`}
      onClick={(event) => { const id = at(event); if (id) go(id); }}
      onMouseMove={(event) => {
        const id = at(event), node = id === null ? null : search.nodes.get(id);
        event.currentTarget.title = node ? `${node.id}  ${share(replay.at(node.id).value)}  ${plain(node.thought?.text ?? "the problem itself", 120)}` : "";
      }} />
  );
}

function paint(canvas: HTMLCanvasElement, size: { width: number; height: number }, bars: ReturnType<typeof icicle>["bars"], depth: number, search: Search, replay: Replay,
  chosen: string, found: ReadonlySet<string>, inSight: string[]): void {
  const ratio = Math.min(devicePixelRatio || 1, 2), style = getComputedStyle(canvas), colour = (name: string): string => style.getPropertyValue(name).trim();
  canvas.width = Math.round(size.width * ratio);
  canvas.height = Math.round(size.height * ratio);
  const pen = canvas.getContext("2d")!;
  pen.scale(ratio, ratio);
  const left = EDGE, wide = (size.width - left) / (depth + 1), path = new Set(pathTo(chosen));
  const shades = { none: colour("--idle"), low: colour("--value"), pass: colour("--good-fill"), mark: colour("--accent"), hit: colour("--hit") };
  const lowest = new Array<number>(depth + 1).fill(-1);
  for (const bar of bars) {
    const now = replay.at(bar.id);
    if (!now.born) continue;
    const y = bar.from * size.height, high = Math.max(0.6, (bar.to - bar.from) * size.height - (bar.to - bar.from > AGAIN / size.height ? 0.8 : 0));
    const strong = path.has(bar.id) || found.has(bar.id);
    if (!strong && high < AGAIN && y < lowest[bar.depth]!) continue;
    lowest[bar.depth] = y + 0.8;
    pen.globalAlpha = 1;
    pen.fillStyle = shades.none;
    pen.fillRect(left + bar.depth * wide, y, wide - 1, high);
    if (now.value !== null) {
      pen.globalAlpha = now.value >= 1 ? 1 : 0.15 + 0.75 * now.value;
      pen.fillStyle = now.value >= 1 ? shades.pass : shades.low;
      pen.fillRect(left + bar.depth * wide, y, wide - 1, high);
    }
    pen.globalAlpha = 1;
    if (found.has(bar.id)) { pen.fillStyle = shades.hit; pen.fillRect(left + bar.depth * wide, y, 4, Math.max(2, high)); }
    if (path.has(bar.id)) { pen.strokeStyle = shades.mark; pen.lineWidth = bar.id === chosen ? 2.5 : 1.2; pen.strokeRect(left + bar.depth * wide + 1, y + 0.5, wide - 3, Math.max(2, high - 1)); }
  }
  // A bracket at the side says which part the window shows.
  const there = new Set(inSight), rows = bars.filter((bar) => there.has(bar.id));
  if (rows.length) {
    const from = Math.min(...rows.map((bar) => bar.from)) * size.height, to = Math.max(...rows.map((bar) => bar.to)) * size.height;
    pen.fillStyle = shades.mark;
    pen.fillRect(0, from, 3, Math.max(3, to - from));
  }
  if (search.answer && replay.whole) {
    const bar = bars.find((one) => one.id === search.answer);
    if (bar) { pen.fillStyle = shades.mark; pen.font = "bold 11px system-ui"; pen.fillText("\u2605", left + (bar.depth + 1) * wide - 14, Math.max(11, Math.min(size.height - 2, ((bar.from + bar.to) / 2) * size.height + 4))); }
  }
}

