// What a trace says once it is read: its tree by id, and in which call each thought and program came to be.
//
// A trace keeps the calls in order and the tree as it ended. Which call gave which thought or program is not written
// down; it follows from the node, the agent, the move and the order of both. Where several calls could have given
// one, the earliest did.

import type { Attempt, Call, Program, Trace, TreeNode, Verdict } from "./trace";

export const ROOT = "0";
const NEVER = Number.MAX_SAFE_INTEGER;

/** A program that was written at a node. `call` is the place of its call, null where the trace does not tell. */
export interface Written {
  node: TreeNode;
  number: number;
  attempt: Attempt;
  program: Program | null;
  call: number | null;
}

/** A node at a moment of the search. */
export interface Moment {
  born: boolean;
  written: Written[];
  value: number | null;
  /** Programs written here and below. */
  tries: number;
  /** The largest value below, discounted for each step up: the Q of P-UCB. */
  best: number;
}

export interface Search {
  trace: Trace;
  nodes: Map<string, TreeNode>;
  written: Map<string, Written[]>;
  /** Calls in order, and of each what it gave. */
  calls: Call[];
  gave: { nodes: string[]; written: Written | null }[];
  born: Map<string, number>;
  refinedBy: Map<string, number>;
  /** Best reward after each number of calls, from 0 to all. */
  best: number[];
  onPath: Set<string>;
  answer: string | null;
  answerCall: number | null;
}

const known = new WeakMap<Trace, Search>();

export function searchOf(trace: Trace): Search {
  let found = known.get(trace);
  if (!found) known.set(trace, (found = read(trace)));
  return found;
}

export const pathTo = (id: string | null): string[] =>
  id === null ? [] : id.split(".").map((_, i, all) => all.slice(0, i + 1).join("."));

export function passes(verdict: Verdict | null | undefined): { passed: number; of: number } | null {
  if (!verdict || !verdict.results.length) return null;
  return { passed: verdict.results.filter((one) => one.outcome === "passed").length, of: verdict.results.length };
}

/** Whether a program passes every test, some, none, or ends before it gives a result. */
export function outcomeOf(program: Program | null): "pass" | "part" | "wrong" | "error" | "none" {
  if (!program) return "none";
  const seen = passes(program.verdict);
  if (!seen) return "none";
  if (seen.passed === seen.of) return "pass";
  if (seen.passed) return "part";
  return program.verdict!.results.some((one) => one.outcome === "wrong") ? "wrong" : "error";
}

function read(trace: Trace): Search {
  const nodes = new Map(trace.nodes.map((node) => [node.id, node]));
  const written = new Map<string, Written[]>();
  for (const node of trace.nodes)
    written.set(
      node.id,
      node.attempts.map((attempt, number) => ({
        node, number, attempt, program: trace.programs[attempt.program] ?? null, call: null,
      })),
    );
  const calls = [...(trace.calls ?? [])].sort((a, b) => a.order - b.order);
  const search: Search = {
    trace, nodes, written, calls,
    gave: calls.map(() => ({ nodes: [], written: null })),
    born: new Map(), refinedBy: new Map(), best: [],
    onPath: new Set(pathTo(trace.solution.node)),
    answer: trace.solution.node !== null && nodes.has(trace.solution.node) ? trace.solution.node : null,
    answerCall: null,
  };
  new Matching(search).all();
  const answer = search.answer ? written.get(search.answer)! : [];
  search.answerCall = answer.find((one) => one.program?.code === trace.solution.code)?.call ?? null;
  search.best = curve(search);
  return search;
}

class Matching {
  private width: number;
  private repairOf = new Map<number, string>();

  constructor(private search: Search) {
    const settings = search.trace.settings?.["search"] as { width?: number } | undefined;
    this.width = settings?.width ?? 5;
  }

  all(): void {
    const { calls, nodes, born } = this.search;
    if (nodes.has(ROOT)) born.set(ROOT, -1);
    this.repairs();
    calls.forEach((call, at) => {
      if (call.error || !nodes.has(call.node)) return;
      if (call.purpose === "expand" || call.purpose === "merge") this.think(call, at);
      else if (call.purpose === "boost") this.write(call.node, call, at);
      else if (call.purpose === "repair") this.mend(call, at);
      else if (call.purpose === "refine" && nodes.get(call.node)!.refined) this.search.refinedBy.set(call.node, at);
    });
    this.rest();
  }

  private think(call: Call, at: number): void {
    let room = call.purpose === "merge" ? 1 : this.width;
    for (const id of this.search.nodes.get(call.node)!.children) {
      const child = this.search.nodes.get(id);
      if (!room || call.unread) return;
      if (!child || child.mends || child.thought?.agent !== call.agent || this.search.born.has(id)) continue;
      this.bear(id, at);
      room--;
    }
  }

  private bear(id: string, at: number): void {
    this.search.born.set(id, at);
    this.search.gave[at]!.nodes.push(id);
  }

  private write(id: string, call: Call, at: number): boolean {
    const found = this.search.written.get(id)?.find((one) =>
      one.call === null && one.attempt.agent === call.agent && (!call.unread || !one.program));
    if (!found) return false;
    found.call = at;
    this.search.gave[at]!.written = found;
    return true;
  }

  /** Which repair each call gave. Children are numbered in the order in which they came, so a later one is of a later call. */
  private repairs(): void {
    const asked = new Map<string, number[]>();
    this.search.calls.forEach((call, at) => {
      if (call.purpose !== "repair" || call.error || call.unread) return;
      asked.set(call.node, [...(asked.get(call.node) ?? []), at]);
    });
    for (const [id, calls] of asked) {
      let next = 0;
      for (const child of this.search.nodes.get(id)?.children ?? []) {
        const node = this.search.nodes.get(child);
        if (!node?.mends) continue;
        const found = calls.findIndex((at, place) => {
          const call = this.search.calls[at]!;
          return place >= next && call.move?.program === node.mends && call.agent === node.thought?.agent;
        });
        if (found < 0) continue;
        this.repairOf.set(calls[found]!, child);
        next = found + 1;
      }
    }
  }

  private mend(call: Call, at: number): void {
    const own = this.repairOf.get(at);
    if (own && this.write(own, call, at)) return this.bear(own, at);
    // A program that is there already is one more attempt of whoever holds it.
    const children = this.search.nodes.get(call.node)!.children.filter((id) => this.search.born.has(id));
    [call.node, ...children].some((id) => this.write(id, call, at));
  }

  /** Nodes of a person, or of calls that the trace does not hold, are there before what was made of them. */
  private rest(): void {
    const { trace, born, written, calls } = this.search;
    for (const node of [...trace.nodes].reverse()) {
      const made = [...(written.get(node.id) ?? []).map((one) => one.call ?? NEVER),
        ...node.children.map((id) => born.get(id) ?? NEVER)];
      const first = Math.min(NEVER, ...made);
      if (!born.has(node.id)) born.set(node.id, first === NEVER ? calls.length - 1 : first - 1);
      else if (first < born.get(node.id)!) born.set(node.id, first);
    }
  }
}

function curve(search: Search): number[] {
  const found = [0];
  search.gave.forEach(({ written }) => found.push(Math.max(found[found.length - 1]!, written ? written.attempt.reward : 0)));
  return found;
}

/** Whether something is there after so many calls. What no call is known for is there at the end. */
const by = (call: number | null, after: number, all: number): boolean => (call === null ? after >= all : call < after);

/** The tree after a number of calls. */
export class Replay {
  private moments = new Map<string, Moment>();
  private gamma: number;
  readonly whole: boolean;

  constructor(readonly search: Search, readonly after: number) {
    const settings = search.trace.settings?.["search"] as { gamma?: number } | undefined;
    this.gamma = settings?.gamma ?? 0.9;
    this.whole = after >= search.calls.length;
  }

  at(id: string): Moment {
    if (!this.moments.size) this.reckon();
    return this.moments.get(id) ?? { born: false, written: [], value: null, tries: 0, best: 0 };
  }

  private reckon(): void {
    const { trace, written, born, calls } = this.search;
    for (const node of [...trace.nodes].reverse()) {
      const here = (written.get(node.id) ?? []).filter((one) => by(one.call, this.after, calls.length));
      const mean = here.length ? here.reduce((sum, one) => sum + one.attempt.reward, 0) / here.length : null;
      let tries = here.length, best = mean ?? 0;
      for (const id of node.children) {
        const below = this.moments.get(id);
        if (!below) continue;
        tries += below.tries;
        best = Math.max(best, this.gamma * below.best);
      }
      const there = this.whole || (born.get(node.id) ?? -1) < this.after;
      this.moments.set(node.id, { born: there, written: here, value: this.whole ? node.value : mean, tries, best });
    }
  }
}

/** The best program of a node, the earliest of equals. */
export const bestOf = (written: Written[]): Written | null =>
  written.reduce<Written | null>((best, one) => (!best || one.attempt.reward > best.attempt.reward ? one : best), null);

/** The program that a node mends, where it is a repair. */
export const mended = (search: Search, node: TreeNode): Program | null =>
  (node.mends ? search.trace.programs[node.mends] : null) ?? null;

export interface Totals {
  calls: number;
  tokens: number;
  cost: number | null;
}

export function totals(trace: Trace): Totals {
  const sum: Totals = { calls: 0, tokens: 0, cost: null };
  for (const used of Object.values(trace.solution.usage)) {
    sum.calls += used.calls;
    sum.tokens += used.prompt_tokens + used.completion_tokens;
    if (used.cost !== null && used.cost !== undefined) sum.cost = (sum.cost ?? 0) + used.cost;
  }
  return sum;
}

/** What the program that is handed over is called: where none passes it is only the best. */
export const answerName = (trace: Trace): string => (trace.solution.solved ? "answer" : "best");

export type Result = "solved" | "unconfirmed" | "unsolved";

export function resultOf(trace: Trace): Result {
  const { solved, confirmed, stopped_by } = trace.solution;
  if (!solved) return "unsolved";
  return !confirmed && stopped_by !== "solved" ? "unconfirmed" : "solved";
}
