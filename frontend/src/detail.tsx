// One node: its thought, what it is worth, its attempts as one line each, and why the search came here.

import type { JSX } from "preact";
import { Agent } from "./agents";
import { answerName, bestOf, mended, pathTo, type Replay, type Search, type Written } from "./search";
import type { TreeNode } from "./trace";
import { plural, share, Text } from "./text";
import { AttemptRow } from "./programs";
import { Bar, Section } from "./ui";
import { Why } from "./why";

/** Ways to steer, as far as there are. */
export type Steer = Partial<Record<"edit" | "add" | "veto", (node: TreeNode) => void>>;

export function Detail({ search, replay, id, choose, steer }: {
  search: Search; replay: Replay; id: string; choose: (id: string) => void; steer: Steer | null;
}): JSX.Element {
  const node = search.nodes.get(id);
  if (!node) return <p class="quiet">Choose a node of the tree.</p>;
  const now = replay.at(id), answer = id === search.answer && replay.whole, source = mended(search, node);
  const best = bestOf(now.written);
  // The best first; the others in the order in which they were written.
  const rows = best ? once([best, ...now.written.filter((one) => one !== best)]) : [];
  const unread = search.calls.map((call, at) => ({ call, at })).filter(({ call, at }) => (call.unread || call.error) && call.node === id && at < replay.after);
  return (
    <div class="detail" key={id}>
      <nav class="crumbs" aria-label="Path to this node">
        {pathTo(id).map((step, i, all) => (i === all.length - 1 ? <b aria-current="true">{step}</b> : <><button type="button" class="link" onClick={() => choose(step)}>{step}</button><span aria-hidden="true">{" \u203a "}</span></>))}
        {answer && <span class="tag good">{"\u2605"} {answerName(search.trace)}</span>}
        {node.kind && <span class="tag">{node.kind}</span>}
        {node.refined && <span class="tag">refined</span>}
        {node.pruned && <span class="tag">pruned</span>}
        {node.closed && <span class="tag" title="Nothing below is left to select">closed</span>}
      </nav>
      {!now.born ? <p class="quiet">{`It is not there yet: it comes with call ${(search.born.get(id) ?? 0) + 1}.`}</p> : (
        <>
          <Thought node={node} />
          {source && <p class="quiet">{node.kind === "rethink" ? "Written anew from the failing tests of a program of " : "Mends a program of "}
            <button type="button" class="link" onClick={() => choose(node.parent!)}>{node.parent}</button>.</p>}
          {steer && (
            <div class="row">
              {node.thought && steer.edit && <button type="button" onClick={() => steer.edit!(node)}>Edit the thought</button>}
              {steer.add && <button type="button" onClick={() => steer.add!(node)}>Add a thought below</button>}
              {node.thought && !node.pruned && steer.veto && <button type="button" onClick={() => steer.veto!(node)}>Veto this branch</button>}
            </div>
          )}
          <Numbers node={node} replay={replay} />
          {rows.length > 0 && <h3>{plural(rows.length, "program")}{now.written.length > rows.length && <span class="quiet">{`, written ${now.written.length} times`}</span>}</h3>}
          {rows.map(({ one, times }) => <AttemptRow key={`${id}/${one.number}`} search={search} written={one} times={times} before={source} open={one === best} />)}
          {!rows.length && <p class="quiet">No program was written here.</p>}
          {unread.map(({ call, at }) => (
            <details class="attempt">
              <summary><span class="sign error" aria-hidden="true">!</span><Agent name={call.agent} /><span class="quiet">{call.error ? "no reply came" : "the reply could not be read"}{` (call ${at + 1})`}</span></summary>
              <div class="inner"><Text as="p" class="bad">{call.error || call.unread}</Text>{call.unread && <Text as="pre">{call.said || "(nothing)"}</Text>}</div>
            </details>
          ))}
          <Reason search={search} replay={replay} node={node} choose={choose} />
        </>
      )}
    </div>
  );
}

/** A program that an agent wrote again and again is one row. */
function once(written: Written[]): { one: Written; times: number }[] {
  const found = new Map<string, { one: Written; times: number }>();
  for (const one of written) {
    const key = `${one.attempt.program || one.number}/${one.attempt.agent}`, known = found.get(key);
    if (known) known.times++;
    else found.set(key, { one, times: 1 });
  }
  return [...found.values()];
}

function Thought({ node }: { node: TreeNode }): JSX.Element {
  if (!node.thought) return <p class="thought-text">The problem itself. <span class="quiet">Programs here answer it directly, without any thought.</span></p>;
  return (
    <>
      <Text as="p" class="thought-text">{node.thought.text}</Text>
      <p class="small"><Agent name={node.thought.agent} /></p>
      {node.refined && <details class="small"><summary class="quiet">the thought before it was refined</summary><Text as="p" class="old">{node.refined.text}</Text></details>}
    </>
  );
}

function Numbers({ node, replay }: { node: TreeNode; replay: Replay }): JSX.Element {
  const now = replay.at(node.id), whole = replay.whole;
  const facts: [string, string, string][] = [
    ["best return Q", share(whole ? (node.returns ? node.best_return : null) : now.tries ? now.best : null), "The largest value that came back from here and below, less for each step"],
    ["visits N", String(whole ? node.visits : now.tries + 1), "How often the search came past"],
    ["prior P", share(node.thought?.prior ?? null), "How promising its author thought it"],
  ];
  return (
    <dl class="numbers">
      <div title="Mean share of the public tests that the programs here pass"><dt>value V</dt><dd><Bar value={now.value} /> {share(now.value)}</dd></div>
      {facts.map(([name, value, why]) => <div title={why}><dt>{name}</dt><dd>{value}</dd></div>)}
      <div><dt>children</dt><dd>{node.children.length}</dd></div>
    </dl>
  );
}

/** Why the call was made that gave the best program here; of a node without one, that which gave its thought. */
function Reason({ search, replay, node, choose }: { search: Search; replay: Replay; node: TreeNode; choose: (id: string) => void }): JSX.Element | null {
  const at = bestOf(replay.at(node.id).written)?.call ?? search.born.get(node.id) ?? -1;
  if (at < 0 || !search.calls[at]) return null;
  return <Section title="Why this leaf?" note={`what the search believed before call ${at + 1}`}><Why search={search} at={at} choose={choose} /></Section>;
}
