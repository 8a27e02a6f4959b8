// A live page: the state of the graph, other searches, past states, and the ways to steer.

import type { ComponentChildren, JSX, TargetedEvent } from "preact";
import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Agent } from "./agents";
import { Client, ownUrl, type Checkpoint, type Thread } from "./client";
import type { Live, Status, Trace, TreeNode } from "./trace";
import { plain, plural, share, Text } from "./text";
import { Bar } from "./ui";

const FETCH_EVERY = 500; // Milliseconds between two fetches of a growing tree, as often as the server tells of changes.

export interface LiveState {
  trace: Trace | null;
  status: Status;
  checkpoint: string | null;
  error: string;
}

/** Keeps the trace as the server has it, and one that was asked for from the past as it was. */
export function useLive(live: Live | null, first: Trace | null): { state: LiveState; client: Client | null; look: (checkpoint: string | null) => void; refresh: () => void } {
  const client = useMemo(() => (live ? new Client(live.urls) : null), [live]);
  const [state, set] = useState<LiveState>({ trace: first, status: live?.status ?? "idle", checkpoint: live?.checkpoint ?? null, error: "" });
  const past = useRef<string | null>(live?.checkpoint ?? null);
  const busy = useRef(false), again = useRef(false);

  const refresh = useCallback(async () => {
    if (!client) return;
    if (busy.current) return void (again.current = true);
    busy.current = true;
    const asked = past.current;
    try {
      const found = await client.trace(asked);
      if (found && asked === past.current) set((old) => ({ trace: found.trace ?? (asked === null ? old.trace : null), status: found.status, checkpoint: asked, error: "" }));
      else if (!found) set((old) => (old.error ? { ...old, error: "" } : old));
    } catch (error) {
      set((old) => ({ ...old, error: (error as Error).message }));
    }
    setTimeout(() => {
      busy.current = false;
      if (again.current) { again.current = false; void refresh(); }
    }, FETCH_EVERY);
    if (asked !== past.current) again.current = true;
  }, [client]);

  useEffect(() => {
    if (!client) return;
    void refresh();
    return client.listen(() => { if (past.current === null) void refresh(); }, (status) => {
      set((old) => ({ ...old, status }));
      if (past.current === null) void refresh();
    });
  }, [client, refresh]);

  const look = useCallback((checkpoint: string | null) => {
    past.current = checkpoint;
    set((old) => ({ ...old, checkpoint }));
    void refresh();
  }, [refresh]);
  return { state, client, look, refresh };
}

const SAID: Record<Status, string> = { idle: "at rest", busy: "searching", interrupted: "waits for a person", error: "ended in an error" };

export function LiveBar({ live, state, client, look, ask }: {
  live: Live; state: LiveState; client: Client; look: (checkpoint: string | null) => void; ask: (what: Asked) => void;
}): JSX.Element {
  const [threads, setThreads] = useState<Thread[] | null>(null), [past, setPast] = useState<Checkpoint[] | null>(null), [error, setError] = useState("");
  const load = <T,>(from: () => Promise<T>, set: (found: T) => void) => async (event: TargetedEvent<HTMLDetailsElement>): Promise<void> => {
    if (!event.currentTarget.open) return;
    try { set(await from()); setError(""); } catch (failed) { setError((failed as Error).message); }
  };
  return (
    <section class="live panel" aria-label="Live search">
      <div class="row">
        <span class={`status ${state.status}`} role="status"><span class="light" aria-hidden="true" />{SAID[state.status] ?? plain(String(state.status), 30)}</span>
        <span class="quiet thread"><Text most={80}>{live.thread}</Text></span>
        <span class="push" />
        <details class="menu" onToggle={load(client.checkpoints, setPast)}>
          <summary>Past states</summary>
          <div class="drop" role="group" aria-label="Past states">
            {!past ? <p class="quiet">{error || "Loading\u2026"}</p> : !past.length ? <p class="quiet">There is none yet.</p> : (
              <ol>{[...past].reverse().map((one) => (
                <li><button type="button" aria-current={state.checkpoint === one.id ? "true" : undefined} onClick={() => look(one.id)}>
                  <span>{plain(one.node, 30)}</span><span class="quiet">{plural(one.calls, "call")}</span><Bar value={one.best} /><span>{share(one.best)}</span><time class="quiet">{clockOf(one.at)}</time>
                </button></li>))}
              </ol>
            )}
          </div>
        </details>
        <details class="menu" onToggle={load(client.threads, setThreads)}>
          <summary>Other searches</summary>
          <div class="drop">
            {!threads ? <p class="quiet">{error || "Loading\u2026"}</p> : !threads.length ? <p class="quiet">There is no other.</p> : (
              <ol>{threads.map((one) => {
                const url = ownUrl(one.url);
                return <li>{url ? <a href={url} aria-current={one.id === live.thread ? "page" : undefined}><Text most={80}>{one.problem || one.id}</Text> <span class="quiet">{plain(one.outcome ?? "", 60)}</span></a> : <Text>{one.problem}</Text>}</li>;
              })}</ol>
            )}
          </div>
        </details>
        {live.urls.fork && <button type="button" onClick={() => ask({ kind: "fork" })}>{"Fork\u2026"}</button>}
        {live.urls.continue && <button type="button" class="primary" disabled={state.status === "busy"} onClick={() => ask({ kind: "continue" })}>{"Continue\u2026"}</button>}
      </div>
      {state.checkpoint !== null && <p class="past">You look at a past state of this search. <button type="button" onClick={() => look(null)}>Back to now</button></p>}
      {(state.error || error) && <p class="bad" role="alert">{plain(state.error || error, 600)}</p>}
    </section>
  );
}

const clockOf = (at: string): string => {
  const time = new Date(at);
  return Number.isNaN(time.getTime()) ? plain(at, 30) : time.toLocaleTimeString("en", { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
};

// --- forms ------------------------------------------------------------------------------------

export type Asked = { kind: "fork" } | { kind: "continue" } | { kind: "edit" | "add" | "veto"; node: TreeNode };

const MOST_TEXT = 2000; // Characters of a person's thought that the search takes.

const TITLES: Record<Asked["kind"], string> = {
  fork: "Fork this search", continue: "Continue the search", edit: "Edit the thought", add: "Add a thought", veto: "Veto this branch",
};

export function Form({ asked, live, state, client, done, close }: {
  asked: Asked; live: Live; state: LiveState; client: Client; done: () => void; close: () => void;
}): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  const [text, setText] = useState(asked.kind === "edit" ? asked.node.thought?.text ?? "" : "");
  const [calls, setCalls] = useState(""), [chosen, setChosen] = useState(() => new Set(live.agents));
  const [error, setError] = useState(""), [sending, setSending] = useState(false);
  useEffect(() => { dialog.current!.showModal(); }, []);
  const budget = calls.trim() === "" ? null : Number(calls);
  const wrong = budget !== null && !(Number.isInteger(budget) && budget > 0) ? "Calls are a whole number of 1 or more, or nothing." : asked.kind === "fork" && !chosen.size && live.agents.length ? "Choose at least one agent."
    : (asked.kind === "edit" || asked.kind === "add") && !text.trim() ? "Write the thought first." : "";

  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (wrong) return setError(wrong);
    setSending(true);
    try {
      if (asked.kind === "fork") {
        const { url } = await client.fork(state.checkpoint, chosen.size === live.agents.length ? null : [...chosen], budget);
        const target = ownUrl(url);
        if (target) return void location.assign(target);
      } else if (asked.kind === "continue") await client.goOn(budget);
      else if (asked.kind === "edit") await client.edit(asked.node.id, text.trim());
      else if (asked.kind === "add") await client.add(asked.node.id, text.trim());
      else await client.veto(asked.node.id);
      done();
    } catch (failed) {
      setError((failed as Error).message);
      setSending(false);
    }
  };
  const where = asked.kind === "edit" || asked.kind === "veto" || asked.kind === "add" ? asked.node.id : "";
  const intro: Record<Asked["kind"], ComponentChildren> = {
    fork: <>A new search goes on from {state.checkpoint === null ? "here" : "the past state you look at"}; this one stays as it is.</>,
    continue: <>The search goes on from its last state, with what you changed.</>,
    edit: <>Your words take the place of the thought of node {where}. Programs from then on follow them.</>,
    add: <>A thought of yours becomes a child of node {where}.</>,
    veto: <>Nothing below node {where} is tried any more, and whoever thinks on beside it is told so.</>,
  };
  return (
    <dialog ref={dialog} onClose={close} aria-labelledby="form-title">
      <form onSubmit={submit} noValidate>
        <h2 id="form-title">{TITLES[asked.kind]}</h2>
        <p class="quiet">{intro[asked.kind]}</p>
        {asked.kind === "veto" && asked.node.thought && <Text as="p" class="said-text" most={400}>{asked.node.thought.text}</Text>}
        {(asked.kind === "edit" || asked.kind === "add") && (
          <label>Thought<textarea rows={5} maxLength={MOST_TEXT} value={text} onInput={(event) => setText(event.currentTarget.value)} autofocus /></label>
        )}
        {asked.kind === "fork" && live.agents.length > 0 && (
          <fieldset><legend>Agents</legend>
            {live.agents.map((name) => (
              <label class="check"><input type="checkbox" checked={chosen.has(name)} onChange={() => setChosen((old) => { const next = new Set(old); if (!next.delete(name)) next.add(name); return next; })} /><Agent name={name} /></label>))}
          </fieldset>
        )}
        {(asked.kind === "fork" || asked.kind === "continue") && (
          <label>{asked.kind === "fork" ? "Calls it may make" : "Calls more"}<input type="number" min={1} step={1} inputMode="numeric" placeholder={asked.kind === "fork" ? "as this search" : "what is left"} value={calls} onInput={(event) => setCalls(event.currentTarget.value)} /></label>
        )}
        {error && <p class="bad" role="alert">{plain(error, 600)}</p>}
        <div class="row end"><button type="button" onClick={() => dialog.current!.close()}>Cancel</button><button type="submit" class="primary" disabled={sending}>{sending ? "Sending\u2026" : asked.kind === "veto" ? "Veto it" : asked.kind === "fork" ? "Fork" : asked.kind === "continue" ? "Continue" : "Keep it"}</button></div>
      </form>
    </dialog>
  );
}
