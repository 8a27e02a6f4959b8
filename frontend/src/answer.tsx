// The answer first: what is handed over, whether it is right, who wrote it, and what it took.

import type { ComponentChildren, JSX } from "preact";
import { useState } from "preact/hooks";
import { Agent } from "./agents";
import { Code } from "./code";
import { Difference, Tests } from "./programs";
import { passes, resultOf, totals, type Search } from "./search";
import type { Solution } from "./trace";
import { count, duration, money, plural, Text } from "./text";
import { Copy } from "./ui";

const ENDED: Record<string, string> = {
  rollouts: "its rollouts were done", calls: "its calls were used", tokens: "its tokens were used", money: "its money was used", seconds: "its time was over",
  exhausted: "nothing was left to try", agents: "no agent answered any more", interrupted: "it was interrupted",
};

function headline(solution: Solution, result: string, busy: boolean): [string, string, string] {
  const seen = passes(solution.verdict);
  const tests = seen ? (seen.passed === seen.of ? (seen.of === 1 ? "the one public test passes" : `all ${count(seen.of)} public tests pass`) : `${seen.passed} of ${plural(seen.of, "public test")} pass`) : "no program ran";
  if (busy) return [solution.solved ? "pass" : "part", solution.solved ? "Passes so far" : "Not solved yet", `${tests}; the search goes on`];
  if (result === "solved") return ["pass", "Solved", `${tests}${solution.confirmed ? "; a second program agrees on further inputs" : ""}`];
  if (result === "unconfirmed") return ["part", "Solved, not confirmed", `${tests}; no second program has confirmed it`];
  return [seen?.passed ? "part" : "wrong", "Not solved", tests];
}

export function Answer({ search, choose, busy }: { search: Search; choose: (id: string) => void; busy: boolean }): JSX.Element {
  const { solution, problem, decision } = search.trace;
  const [whole, setWhole] = useState(false);
  const [kind, title, detail] = headline(solution, resultOf(search.trace), busy), sum = totals(search.trace);
  const failing = solution.verdict?.results.find((one) => one.outcome !== "passed");
  const hidden = decision?.hidden;
  const long = solution.code.split("\n").length > 14;
  const facts: [string, ComponentChildren][] = [
    ["written by", solution.agent ? <><Agent name={solution.agent} />{search.answerCall !== null && ` in call ${search.answerCall + 1}`}</> : "no one"],
    ["cost", money(sum.cost)], ["calls", count(sum.calls)], ["tokens", count(sum.tokens)], ["time", duration(solution.seconds)],
    ["programs", `${count(solution.tree.programs)} at ${plural(solution.tree.nodes, "node")}`],
  ];
  if (hidden) facts.push(["hidden tests", <span class={hidden.passed === hidden.total ? "good" : "bad"}>{`${hidden.passed} of ${hidden.total} pass`}</span>]);
  if (!busy && ENDED[solution.stopped_by]) facts.push(["ended because", ENDED[solution.stopped_by]!]);
  if (solution.tier) facts.push(["sandbox", <Text most={60}>{solution.tier}</Text>]);
  return (
    <section class={`answer panel ${kind}`} aria-label="The answer">
      <header>
        <h2><span class={`verdict ${kind}`}><span aria-hidden="true">{kind === "pass" ? "\u2713" : kind === "part" ? "\u25d0" : "\u2717"}</span> {title}</span> <span class="detail-line">{detail}</span></h2>
        <div class="row">
          {solution.code && <Copy class="primary" text={solution.code} label="Copy the program" />}
          {search.answer && <button type="button" onClick={() => choose(search.answer!)}>{`Show node ${search.answer}`}</button>}
        </div>
      </header>
      <dl class="facts">{facts.map(([name, value]) => <div><dt>{name}</dt><dd>{value}</dd></div>)}</dl>
      <details class="statement"><summary>Problem<span class="gist"><Text most={160}>{problem.statement.slice(0, 160).replace(/\s+/g, " ")}</Text></span></summary><Text as="p" class="prose">{problem.statement}</Text></details>
      {solution.code ? (
        <div class={long && !whole ? "clip" : ""}>
          <Code code={solution.code} failing={new Set((solution.verdict?.results ?? []).map((one) => one.line).filter((line) => line !== null))} />
          {long && <button type="button" class="unclip" aria-expanded={whole} onClick={() => setWhole(!whole)}>{whole ? "Show less" : "Show the whole program"}</button>}
        </div>
      ) : <p class="quiet">There is no program to hand over.</p>}
      {failing && <div class="failing-test"><h3>The first test that fails</h3><Text as="div" class="mono" most={300}>{failing.shown}</Text><Difference result={failing} /></div>}
      {solution.verdict && solution.verdict.results.length > 0 && <details class="small-section"><summary>{plural(solution.verdict.results.length, "public test")}</summary><Tests verdict={solution.verdict} /></details>}
      {solution.notes.map((note) => <p class="note"><Text>{note}</Text></p>)}
      {Object.entries(solution.set_aside).map(([name, reason]) => <p class="note bad"><Agent name={name} /> was set aside: <Text most={400}>{reason}</Text></p>)}
    </section>
  );
}
