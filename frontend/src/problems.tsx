// The problems of a file: found by words, filtered by result and agent, sorted by what they took.

import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Agent, called } from "./agents";
import { addressOf } from "./address";
import { passes, resultOf, totals, type Result } from "./search";
import type { Trace } from "./trace";
import { count, duration, money, plain, seen, Text } from "./text";
import { Passed, Sign } from "./ui";

const MOST_ROWS = 300; // Drawn at first; more would take a blink.

const RESULTS: Record<Result, string> = { solved: "solved", unconfirmed: "not confirmed", unsolved: "not solved" };

interface Row {
  index: number;
  trace: Trace;
  result: Result;
  words: string;
  calls: number;
  tokens: number;
  cost: number | null;
  seconds: number;
  reward: number;
}

type By = "order" | "problem" | "reward" | "calls" | "tokens" | "cost" | "seconds";
const SORTS: Record<By, [name: string, key: (row: Row) => number | string]> = {
  order: ["order of the run", (row) => row.index], problem: ["problem", (row) => row.trace.problem.id], reward: ["tests passed", (row) => row.reward],
  calls: ["calls", (row) => row.calls], tokens: ["tokens", (row) => row.tokens], cost: ["cost", (row) => row.cost ?? -1], seconds: ["time", (row) => row.seconds],
};

const rowsOf = (traces: Trace[]): Row[] => traces.map((trace, index) => {
  const sum = totals(trace), tested = passes(trace.solution.verdict);
  return {
    index, trace, result: resultOf(trace), ...sum, seconds: trace.solution.seconds, reward: tested ? tested.passed / tested.of : 0,
    words: [trace.problem.id, trace.problem.difficulty, ...trace.problem.tags, trace.problem.statement.slice(0, 5000)].join(" ").toLowerCase(),
  };
});

export function Problems({ traces, at, agents, open }: { traces: Trace[]; at: number; agents: string[]; open: (index: number) => void }): JSX.Element {
  const [text, setText] = useState(""), [result, setResult] = useState(""), [agent, setAgent] = useState("");
  const [by, setBy] = useState<By>("order"), [down, setDown] = useState(false), [most, setMost] = useState(MOST_ROWS);
  const list = useRef<HTMLDivElement>(null);
  const all = useMemo(() => rowsOf(traces), [traces]);
  const rows = useMemo(() => {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean), key = SORTS[by][1];
    const found = all.filter((row) => (!result || row.result === result) && (!agent || row.trace.solution.agent === agent) && words.every((word) => row.words.includes(word)));
    const compare = (a: Row, b: Row): number => {
      const one = key(a), other = key(b);
      return (one < other ? -1 : one > other ? 1 : 0) * (down ? -1 : 1) || a.index - b.index;
    };
    return found.sort(compare);
  }, [all, text, result, agent, by, down]);
  const counts = useMemo(() => Object.keys(RESULTS).map((name) => [name, all.filter((row) => row.result === name).length] as const), [all]);
  useEffect(() => {
    const row = list.current?.querySelector<HTMLElement>("[aria-current]"), box = list.current;
    if (row && box && (row.offsetTop < box.scrollTop + 30 || row.offsetTop + row.offsetHeight > box.scrollTop + box.clientHeight)) box.scrollTop = row.offsetTop - box.clientHeight / 2;
  }, [at]);
  const solved = all.filter((row) => row.trace.solution.solved).length;
  const writers = agents.filter((name) => all.some((row) => row.trace.solution.agent === name));
  const head = (name: string, sort: By, kind = ""): JSX.Element => (
    <span role="columnheader" class={kind} aria-sort={by === sort ? (down ? "descending" : "ascending") : "none"}>
      <button type="button" onClick={() => (by === sort ? setDown(!down) : (setBy(sort), setDown(!["problem", "order"].includes(sort))))}>{name}{by === sort ? (down ? " \u2193" : " \u2191") : ""}</button>
    </span>
  );
  return (
    <section class="problems panel" aria-label="Problems">
      <header>
        <h2>{`${count(solved)} of ${count(all.length)} problems solved`}</h2>
        <div class="filters">
          <input type="search" placeholder="Find a problem" aria-label="Find a problem by its id, words of its statement, or tags" value={text} onInput={(event) => setText(event.currentTarget.value)} />
          <select aria-label="Result" value={result} onChange={(event) => setResult(event.currentTarget.value)}>
            <option value="">all results</option>
            {counts.filter(([, number]) => number).map(([name, number]) => <option value={name}>{`${RESULTS[name as Result]} (${number})`}</option>)}
          </select>
          {writers.length > 1 && (
            <select aria-label="Answer by" value={agent} onChange={(event) => setAgent(event.currentTarget.value)}>
              <option value="">any agent</option>
              {writers.map((name) => <option value={name}>{plain(called(name, agents), 40)}</option>)}
            </select>
          )}
          <select class="narrow" aria-label="Sort by" value={by} onChange={(event) => { setBy(event.currentTarget.value as By); setDown(!["problem", "order"].includes(event.currentTarget.value)); }}>
            {Object.entries(SORTS).map(([name, [title]]) => <option value={name}>{`by ${title}`}</option>)}
          </select>
          <span class="quiet" role="status">{rows.length === all.length ? "" : `${count(rows.length)} shown`}</span>
        </div>
      </header>
      <div class="list" ref={list} role="table" aria-label="Problems" aria-rowcount={rows.length + 1}>
        <div role="row" class="head">{head("problem", "problem")}{head("tests", "reward", "right")}<span role="columnheader" class="agent">by</span>{head("calls", "calls", "right")}{head("tokens", "tokens", "right wide")}{head("cost", "cost", "right wide")}{head("time", "seconds", "right")}</div>
        {rows.slice(0, most).map((row) => <Line key={row.index} row={row} now={row.index === at} open={open} />)}
      </div>
      {!rows.length && <p class="quiet">No problem fits.</p>}
      {rows.length > most && <button type="button" class="more" onClick={() => setMost(most + 1000)}>{`show more of ${count(rows.length)}`}</button>}
    </section>
  );
}

const Line = ({ row, now, open }: { row: Row; now: boolean; open: (index: number) => void }): JSX.Element => {
  const { problem, solution } = row.trace;
  const outcome = row.result === "solved" ? "pass" : row.result === "unconfirmed" || row.reward > 0 ? "part" : "wrong";
  return (
    <div role="row" class="problem" aria-current={now ? "true" : undefined} onClick={(event) => { if (!event.ctrlKey && !event.metaKey) { event.preventDefault(); open(row.index); } }}>
      <span role="cell" class="name"><Sign outcome={outcome} /><a href={addressOf({ problem: problem.id })}><bdi>{seen(problem.id.slice(0, 120))}</bdi></a> <span class="quiet gist"><Text most={90}>{problem.statement.slice(0, 90).replace(/\s+/g, " ")}</Text></span></span>
      <span role="cell" class="right"><Passed verdict={solution.verdict} /></span>
      <span role="cell" class="agent">{solution.agent ? <Agent name={solution.agent} /> : "\u2013"}</span>
      <span role="cell" class="right">{count(row.calls)}</span>
      <span role="cell" class="right wide">{count(row.tokens)}</span>
      <span role="cell" class="right wide">{row.cost === null ? "\u2013" : money(row.cost)}</span>
      <span role="cell" class="right">{duration(row.seconds)}</span>
    </div>
  );
};

/** Where a problem stands in the file, by its id. */
export const indexOf = (traces: Trace[], id: string | undefined): number => traces.findIndex((trace) => trace.problem.id === id);
