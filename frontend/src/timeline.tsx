// Time: a curve of the best reward against calls, and a slider that shows the tree as it was after each of them.

import type { TargetedPointerEvent, JSX } from "preact";
import { useContext, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Agent, AgentsContext, lookOf } from "./agents";
import { pathTo, type Search } from "./search";
import type { Call } from "./trace";
import { plain, plural, share } from "./text";
import { Sign } from "./ui";
import { outcomeOf } from "./search";

const HIGH = 92, LEFT = 28, RIGHT = 8, TOP = 8, BOTTOM = 20; // Pixels.
const LONGEST_PLAY = 15_000; // Milliseconds of a replay: nobody watches longer.
const SLOWEST_STEP = 600; // And of one call, to read what it was.
const MOST_DOTS = 1500;

const WORDS: Record<string, string> = {
  answer: "answered directly", think: "thought on", write: "wrote a program", repair: "repaired a program, its code shown",
  rethink: "wrote anew from the failing tests", split: "was asked which output is right", expand: "thought on", boost: "wrote a program",
  merge: "merged the thoughts", refine: "refined the thought", judge: "rated a program", tests: "wrote tests",
};
export const deedOf = (call: Call): string => WORDS[call.move?.kind ?? call.purpose] ?? call.purpose;

/** What one call was and gave, in a line. */
export function CallLine({ search, at, choose }: { search: Search; at: number; choose: (id: string) => void }): JSX.Element {
  const call = search.calls[at]!, gave = search.gave[at]!;
  const place = (id: string): JSX.Element => <button type="button" class="link" onClick={() => choose(id)}>{plain(id, 40)}</button>;
  return (
    <span class="call-line">
      <Agent name={call.agent} /> {deedOf(call)} at {place(call.node)}{gave.written && gave.written.node.id !== call.node && <> {"\u2192"} {place(gave.written.node.id)}</>}
      {gave.written && <>: <Sign outcome={outcomeOf(gave.written.program)} /> <span class="tests">{share(gave.written.attempt.reward)}</span></>}
      {gave.nodes.length > 0 && !gave.written && `: ${plural(gave.nodes.length, "thought")}`}
      {call.error ? <span class="bad">: no reply came</span> : call.unread ? <span class="bad">: nothing could be read</span> : null}
    </span>
  );
}

export function Timeline({ search, after, move, choose }: {
  search: Search; after: number; move: (after: number) => void; choose: (id: string) => void;
}): JSX.Element {
  const all = search.calls.length;
  const [playing, play] = useState(false);
  const now = useRef(after);
  now.current = after;
  useEffect(() => {
    if (!playing) return;
    const step = Math.min(SLOWEST_STEP, LONGEST_PLAY / all);
    const stride = Math.max(1, Math.ceil(50 / step)); // More than twenty pictures a second no eye can tell apart.
    const timer = setInterval(() => {
      const next = Math.min(all, now.current + stride);
      move(next);
      if (next >= all) play(false);
    }, Math.max(step, 50));
    return () => clearInterval(timer);
  }, [playing, all, move]);

  if (!all) return <p class="quiet small">This trace is of an older format: it does not tell in which order things happened, so there is no replay.</p>;
  const start = (): void => {
    if (!playing && after >= all) move(0);
    play(!playing);
  };
  return (
    <div class="timeline">
      <Curve search={search} after={after} move={move} />
      <div class="player">
        <button type="button" class="icon" onClick={start} aria-label={playing ? "Pause the replay" : "Replay the search"}>{playing ? "\u23f8\ufe0e" : "\u25b6\ufe0e"}</button>
        <button type="button" class="icon" onClick={() => move(Math.max(0, after - 1))} disabled={after <= 0} aria-label="One call back">{"\u2039"}</button>
        <input type="range" min={0} max={all} value={after} aria-label="Calls made" aria-valuetext={`After ${after} of ${plural(all, "call")}`}
          onInput={(event) => { play(false); move(Number(event.currentTarget.value)); }} />
        <button type="button" class="icon" onClick={() => move(Math.min(all, after + 1))} disabled={after >= all} aria-label="One call on">{"\u203a"}</button>
        <button type="button" onClick={() => { play(false); move(all); }} disabled={after >= all}>End</button>
      </div>
      <p class="now">
        <b>{after >= all ? `All ${plural(all, "call")}` : `After ${after} of ${plural(all, "call")}`}</b>
        {after > 0 && <>{" \u00b7 "}<CallLine search={search} at={after - 1} choose={choose} /></>}
        {after === 0 && " \u00b7 nothing was asked yet"}
      </p>
    </div>
  );
}

const up = (reward: number): number => TOP + (HIGH - TOP - BOTTOM) * (1 - Math.min(1, Math.max(0, reward)));

/** Marks of an axis at round numbers: at most five. */
export function ticks(all: number): number[] {
  const rough = all / 4 || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(1, [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough) ?? rough);
  return Array.from({ length: Math.floor(all / step) + 1 }, (_, i) => i * step);
}

function Curve({ search, after, move }: { search: Search; after: number; move: (after: number) => void }): JSX.Element {
  const agents = useContext(AgentsContext);
  const all = search.calls.length;
  const [wide, setWide] = useState(640);
  const box = useRef<SVGSVGElement>(null);
  useEffect(() => {
    const watch = new ResizeObserver(([entry]) => setWide(Math.max(200, Math.round(entry!.contentRect.width))));
    watch.observe(box.current!);
    return () => watch.disconnect();
  }, []);
  const across = (call: number): number => LEFT + ((wide - LEFT - RIGHT) * call) / Math.max(1, all);
  const still = useMemo(() => {
    const line = search.best.map((best, call) => (call ? `H${across(call)}V${up(best)}` : `M${LEFT},${up(best)}`)).join("");
    const dots = search.gave.map(({ written }, at) => ({ written, at })).filter(({ written }) => written).slice(0, MOST_DOTS);
    return (
      <>
        {[0, 0.5, 1].map((reward) => (
          <><line class="rule" x1={LEFT} x2={wide - RIGHT} y1={up(reward)} y2={up(reward)} />
            <text x={LEFT - 6} y={up(reward) + 3.5} class="end">{reward}</text></>
        ))}
        {ticks(all).map((call) => <text x={Math.min(across(call), wide)} y={HIGH - 6} class={!call ? "" : across(call) > wide - 20 ? "end" : "middle"}>{call}</text>)}
        <path class="curve" d={line} />
        {dots.map(({ written, at }) => {
          const { colour } = lookOf(agents, search.calls[at]!.agent);
          return <circle class={`dot ${colour === null ? "" : `agent-${colour}`}`} cx={across(at + 1)} cy={up(written!.attempt.reward)} r={dots.length > 150 ? 2 : 3.4} />;
        })}
      </>
    );
  }, [search, agents, wide]);
  const pick = (event: TargetedPointerEvent<SVGSVGElement>): void => {
    if (event.type === "pointermove" && !(event.buttons & 1)) return;
    const frame = event.currentTarget.getBoundingClientRect();
    const x = ((event.clientX - frame.left) / frame.width) * wide;
    move(Math.max(0, Math.min(all, Math.round(((x - LEFT) / (wide - LEFT - RIGHT)) * all))));
  };
  const best = search.best[Math.min(after, all)] ?? 0;
  return (
    <figure class="curve-box">
      <figcaption>best reward so far, by calls <span class="quiet">(dots: programs, by agent)</span></figcaption>
      <svg ref={box} viewBox={`0 0 ${wide} ${HIGH}`} height={HIGH} role="img" onPointerDown={pick} onPointerMove={pick}
        aria-label={`Best reward ${share(best)} after ${after} of ${plural(all, "call")}`}>
        {still}
        <line class="cursor" x1={across(after)} x2={across(after)} y1={TOP - 4} y2={HIGH - BOTTOM + 4} />
      </svg>
    </figure>
  );
}

/** Whether a node is on the way of what the last call did. */
export function isCurrent(search: Search, after: number, id: string): boolean {
  if (after <= 0 || after >= search.calls.length) return false;
  const gave = search.gave[after - 1]!, call = search.calls[after - 1]!;
  return gave.written ? gave.written.node.id === id : gave.nodes.length ? gave.nodes.includes(id) : pathTo(call.node).pop() === id;
}
