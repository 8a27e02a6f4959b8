// "Why this leaf?": what the search believed when it chose a call, and what else it could have done.

import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { Agent } from "./agents";
import { outcomeOf, pathTo, Replay, type Search } from "./search";
import type { Call } from "./trace";
import { deedOf } from "./timeline";
import { count, isNumber, plain, plural, share } from "./text";
import { Bar, Table } from "./ui";

const OUTCOMES = ["error", "wrong", "part", "pass"] as const;
const NEAR = 3; // Calls before and after: about the round that was planned with it.
const MOST_RIVALS = 8;

const STARTS: Record<string, string> = { "": "with no program yet", error: "from a program that ends in an error", wrong: "from a wrong program", part: "from a program that is right in part", pass: "where a program passes" };
const startOf = (before: string): string => STARTS[before.replace(/\+$/, "")] + (before.endsWith("+") ? ", itself a repair" : "");

/** What moves like this one had given before it, in this search, by agent. */
function seenBefore(search: Search, at: number): Map<string, number[]> {
  const own = search.calls[at]!.move!, found = new Map<string, number[]>();
  search.calls.slice(0, at).forEach((call, i) => {
    const written = search.gave[i]!.written;
    if (!call.move || call.move.kind !== own.kind || call.move.before !== own.before || !written) return;
    const row = found.get(call.agent) ?? [0, 0, 0, 0], outcome = outcomeOf(written.program);
    row[outcome === "none" ? 0 : OUTCOMES.indexOf(outcome)]!++;
    found.set(call.agent, row);
  });
  return found;
}

export function Why({ search, at, choose }: { search: Search; at: number; choose: (id: string) => void }): JSX.Element {
  const call = search.calls[at]!, move = call.move;
  const replay = useMemo(() => new Replay(search, at), [search, at]);
  return (
    <div class="why">
      <p>
        {`Call ${at + 1} of ${search.calls.length}: `}<Agent name={call.agent} /> {deedOf(call)} at node <button type="button" class="link" onClick={() => choose(call.node)}>{plain(call.node, 40)}</button>
        {move ? `, ${startOf(move.before)}.` : "."}
      </p>
      {move ? <Believed search={search} at={at} /> : <p class="quiet">The walk led here; no move was weighed for this call.</p>}
      <Forks search={search} replay={replay} call={call} choose={choose} />
      {move && <Beside search={search} at={at} choose={choose} />}
    </div>
  );
}

function Believed({ search, at }: { search: Search; at: number }): JSX.Element {
  const move = search.calls[at]!.move!, rows = seenBefore(search, at);
  const earlier = ((search.trace.settings?.["search"] as Record<string, unknown> | undefined)?.["beliefs"] as { counts?: Record<string, number[]> } | undefined)?.counts ?? {};
  const names = new Set([...rows.keys(), move.agent]);
  const sum = (row: number[] | undefined): number => (row ?? []).reduce((all, one) => all + one, 0);
  const cells = [...names].map((name) => {
    const here = rows.get(name), before = earlier[`${move.kind}/${move.before}/${name}`];
    return [<Agent name={name} />, ...OUTCOMES.map((_, i) => count(here?.[i] ?? 0)), isNumber(sum(before)) && sum(before) ? `${count(Math.round(before![3]!))} of ${count(Math.round(sum(before)))}` : "\u2013"];
  });
  return (
    <>
      <p><Bar value={move.gain} pass={false} /> <b>{share(move.gain)}</b> was believed of it: the chance that its program passes, and what a failed one would add to the next try.</p>
      <h3>What the same move had given in this search by then</h3>
      <Table label="What the same move had given" heads={["agent", ">error", ">wrong", ">in part", ">passed", ">earlier problems"]} rows={cells} />
    </>
  );
}

/** At each fork on the way the children that there were, with what had come of them. */
function Forks({ search, replay, call, choose }: { search: Search; replay: Replay; call: Call; choose: (id: string) => void }): JSX.Element | null {
  const path = pathTo(call.node);
  const forks = path.map((id, depth) => ({
    id, taken: path[depth + 1] ?? null,
    children: (search.nodes.get(id)?.children ?? []).filter((child) => search.nodes.has(child) && replay.at(child).born),
  })).filter((fork) => fork.children.length);
  if (!forks.length) return null;
  return (
    <>
      <h3>The forks on the way</h3>
      {forks.map((fork) => {
        const rows = fork.children.map((id) => ({ id, now: replay.at(id), prior: search.nodes.get(id)!.thought?.prior ?? 1 }))
          .sort((a, b) => Number(b.id === fork.taken) - Number(a.id === fork.taken) || b.now.best - a.now.best || a.now.tries - b.now.tries);
        return (
          <>
            <p class="quiet">{`At ${fork.id}${fork.taken ? `, where it went on to ${fork.taken}` : ", where it stayed for a new child or program"}:`}</p>
            <Table label={`Children of ${fork.id} at that time`} class="forks" heads={["child", "best return Q", ">tries", ">prior P"]} rows={rows.slice(0, MOST_RIVALS).map(({ id, now, prior }) => [
              <button type="button" class={id === fork.taken ? "link taken" : "link"} onClick={() => choose(id)}>{id === fork.taken ? `${id} \u2190` : id}</button>,
              now.tries ? <><Bar value={now.best} /> {share(now.best)}</> : <span class="quiet">untried</span>, now.tries, share(prior)])} />
            {rows.length > MOST_RIVALS && <p class="quiet">{`and ${plural(rows.length - MOST_RIVALS, "more child", "more children")}, tried with no better return or not at all`}</p>}
          </>
        );
      })}
    </>
  );
}

function Beside({ search, at, choose }: { search: Search; at: number; choose: (id: string) => void }): JSX.Element | null {
  const near = search.calls.map((call, i) => ({ call, i })).slice(Math.max(0, at - NEAR), at + NEAR + 1).filter(({ call }) => call.move);
  if (near.length < 2) return null;
  return (
    <>
      <h3>What was planned around it</h3>
      <Table label="Moves planned around it" heads={[">call", "move", "gain believed"]} rows={near.map(({ call, i }) => [
        i === at ? <b>{i + 1}</b> : i + 1,
        <><Agent name={call.agent} /> {call.move!.kind} at <button type="button" class="link" onClick={() => choose(call.node)}>{plain(call.node, 30)}</button></>,
        <><Bar value={call.move!.gain} pass={false} /> {share(call.move!.gain)}</>])} />
    </>
  );
}
