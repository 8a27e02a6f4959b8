// What else a trace tells: agents, who helped whom, every call, a person's decisions, the problem, the settings.

import type { ComponentChildren, JSX } from "preact";
import { useState } from "preact/hooks";
import { Agent } from "./agents";
import { Code } from "./code";
import { type Search } from "./search";
import type { PublicTest, Review } from "./trace";
import { count, duration, isNumber, money, plain, plural, share, Text } from "./text";
import { CallLine } from "./timeline";
import { Bar, Section, Table } from "./ui";

const MOST_CALLS = 100;

interface Props { search: Search; choose: (id: string) => void; move: (after: number) => void }

export function Facts(props: Props): JSX.Element {
  const { search } = props, { trace } = search;
  return (
    <div class="sections">
      {trace.reviews?.length > 0 && <Decisions {...props} />}
      {trace.split && <SplitAsked search={search} />}
      <AgentsTable search={search} />
      <Matrix search={search} />
      {search.calls.length > 0 && <Calls {...props} />}
      <ProblemText search={search} />
      <Settings search={search} />
    </div>
  );
}

function AgentsTable({ search }: { search: Search }): JSX.Element {
  const { usage } = search.trace.solution, models = search.trace.lineage?.models ?? {}, names = Object.keys(usage);
  const rows = Object.entries(usage).map(([name, used]) => [
    <><Agent name={name} />{models[name] && models[name] !== name && <div class="quiet small">{plain(models[name], 80)}</div>}</>,
    count(used.calls), used.cached || "", used.failed || "", used.malformed || "", count(used.prompt_tokens), count(used.completion_tokens), money(used.cost), duration(used.seconds)]);
  return (
    <Section title="Agents" note={names.length ? plural(names.length, "agent") : "none was asked"} open>
      <Table label="Agents" heads={["agent", ">calls", ">cached", ">failed", ">unread", ">prompt tok", ">reply tok", ">cost", ">waited"]} rows={rows} />
    </Section>
  );
}

function Matrix({ search }: { search: Search }): JSX.Element | null {
  const { matrix, usage } = search.trace.solution;
  const coders = [...new Set([...Object.keys(usage), ...Object.values(matrix).flatMap((row) => Object.keys(row))])].filter((name) => Object.values(matrix).some((row) => name in row));
  if (!coders.length) return null;
  const cell = (value: number | undefined): ComponentChildren => (isNumber(value) ? <><Bar value={value} /> {share(value)}</> : <span class="quiet">{"\u2013"}</span>);
  return (
    <Section title="Who helped whom" note="mean reward of programs, by whose thought they follow">
      <Table label="Mean reward by author and coder" heads={["thought by", ...coders.map((name) => <>program by <Agent name={name} /></>)]}
        rows={Object.entries(matrix).map(([author, row]) => [author ? <Agent name={author} /> : <span class="quiet">no thought: direct answers</span>, ...coders.map((name) => cell(row[name]))])} />
    </Section>
  );
}

function Calls({ search, choose, move }: Props): JSX.Element {
  const [shown, show] = useState(MOST_CALLS);
  const unread = search.calls.filter((call) => call.unread).length, failed = search.calls.filter((call) => call.error).length;
  const note = [plural(search.calls.length, "call"), unread && `${unread} of them unread`, failed && `${failed} without a reply`].filter(Boolean).join(", ");
  return (
    <Section title="Calls" note={note}>
      <Table label="Calls" heads={[">call", "what it gave", ">gain", ">tokens", ">cost", ">seconds"]} rows={search.calls.slice(0, shown).map((call, at) => [
        <button type="button" class="link" onClick={() => move(at + 1)} aria-label={`Replay to call ${at + 1}`}>{at + 1}</button>,
        <><CallLine search={search} at={at} choose={choose} />{(call.unread || call.error) && <Text as="div" class="bad small" most={200}>{call.error || call.unread}</Text>}{call.unread && call.said && <Text as="div" class="mono small quiet" most={160}>{call.said}</Text>}</>,
        call.move ? share(call.move.gain) : "", count(call.prompt_tokens + call.completion_tokens), isNumber(call.cost) ? money(call.cost) : "", call.cached ? "cached" : call.seconds.toFixed(1)])} />
      {search.calls.length > shown && <button type="button" class="more" onClick={() => show(shown + 500)}>{`show more of ${count(search.calls.length)} calls`}</button>}
    </Section>
  );
}

const DECIDED: Record<string, string> = { approve: "approved", edit: "edited", reject: "refused", respond: "answered" };
const ABOUT: Record<string, string> = { thoughts: "a thought", accept: "a program that passes", budget: "the budget" };

function Decisions({ search, choose }: Props): JSX.Element {
  const { reviews } = search.trace;
  const told = (review: Review): ComponentChildren => (
    <>
      {DECIDED[review.decision] ?? plain(review.decision, 30)} {ABOUT[review.asked] ?? plain(review.asked, 30)}
      {review.node && <> at <button type="button" class="link" onClick={() => choose(review.node)}>{plain(review.node, 40)}</button></>}
      {review.text && <Text as="div" class="said-text" most={400}>{review.text}</Text>}
      {Object.keys(review.caps ?? {}).length > 0 && <div class="small quiet">{`from then on: ${Object.entries(review.caps).map(([cap, value]) => `${value} ${cap}`).join(", ")}`}</div>}
    </>
  );
  return (
    <Section title="A person decided" note={plural(reviews.length, "decision")} open>
      <ol class="decisions">{reviews.map((review) => <li><Agent name={review.by || "person"} /> {told(review)} <span class="quiet small">{`after ${plural(review.rollouts, "rollout")}`}</span></li>)}</ol>
    </Section>
  );
}

function SplitAsked({ search }: { search: Search }): JSX.Element {
  const split = search.trace.split!, groups = Object.entries(split.answers);
  return (
    <Section title="Programs that pass differed" note="an agent was asked which output is right" open>
      <p><Agent name={split.agent} /> was asked what a right program gives for</p>
      <Text as="pre" most={600}>{split.input}</Text>
      <p>{split.expected ? <>and said <Text class="mono" most={300}>{split.expected}</Text>. </> : "and gave no output that could be read. "}
        {split.fits ? `${plural(split.answers[split.fits]?.length ?? 0, "program")} of ${groups.reduce((sum, [, keys]) => sum + keys.length, 0)} give that.` : "No program gives that."}</p>
    </Section>
  );
}

function testText(test: PublicTest): string {
  if (test.kind === "stdin") return `stdin: ${JSON.stringify(test.stdin)}  \u2192  ${(test.expected ?? []).map((text) => JSON.stringify(text)).join(" or ")}`;
  return test.kind === "call" ? `${test.call}  \u2192  ${(test.expected ?? []).join(" or ")}` : test.code ?? "";
}

function ProblemText({ search }: { search: Search }): JSX.Element {
  const { problem } = search.trace;
  return (
    <Section title="Problem" note={plain([problem.id, problem.difficulty, ...problem.tags].filter(Boolean).join(" \u00b7 "), 120)}>
      <Text as="p" class="prose">{problem.statement}</Text>
      {problem.starter_code && <Code code={problem.starter_code} />}
      <h3>{plural(problem.public_tests.length, "public test")}</h3>
      <Text as="pre" class="block">{problem.public_tests.map(testText).join("\n")}</Text>
    </Section>
  );
}

function Settings({ search }: { search: Search }): JSX.Element {
  const rows: [string, string][] = [];
  for (const [group, value] of Object.entries(search.trace.settings ?? {})) {
    const nested = value !== null && typeof value === "object" && !Array.isArray(value);
    for (const [key, inner] of nested ? Object.entries(value as object) : [["", value]]) rows.push([[group, key].filter(Boolean).join("."), JSON.stringify(inner) ?? ""]);
  }
  const { created, package: version } = search.trace;
  return (
    <Section title="Settings" note={[`${rows.length} settings`, version && `bdc-agents ${plain(version, 30)}`, created && plain(created, 40)].filter(Boolean).join(" \u00b7 ")}>
      <Table label="Settings" heads={["setting", "value"]} rows={rows.map(([key, value]) => [<Text most={80}>{key}</Text>, <Text class="mono" most={200}>{value}</Text>])} />
    </Section>
  );
}

