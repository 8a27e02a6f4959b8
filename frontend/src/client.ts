// What a live page asks its server for. Each call is to the page's own origin; an offline page makes none.

import type { Live, Status, Trace } from "./trace";

export interface Snapshot {
  trace: Trace | null;
  status: Status;
  checkpoint: string | null;
}

export interface Checkpoint {
  id: string;
  at: string;
  node: string;
  calls: number;
  best: number;
}

export interface Thread {
  id: string;
  problem: string;
  outcome: string;
  updated: string;
  url: string;
}

/** Where a reply says why something cannot be done, in a sentence for people. */
export class Refused extends Error {}

async function send<T>(url: string, options: RequestInit = {}): Promise<T> {
  let reply: Response;
  try {
    reply = await fetch(url, { credentials: "same-origin", cache: "no-cache", ...options });
  } catch {
    throw new Refused("The server does not answer. Is it still running?");
  }
  const body: unknown = await reply.json().catch(() => null);
  if (!reply.ok) {
    const told = (body as { error?: unknown } | null)?.error;
    throw new Refused(typeof told === "string" ? told : `The server refused it (status ${reply.status}).`);
  }
  return body as T;
}

const post = <T>(url: string | null, body: object): Promise<T> =>
  url === null ? Promise.reject(new Refused("This cannot be done with this search.")) : send<T>(url, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

/** An address that leads nowhere but to this server. */
export function ownUrl(url: string): string | null {
  try {
    const found = new URL(url, location.href);
    return found.origin === location.origin && /^https?:$/.test(found.protocol) ? found.href : null;
  } catch {
    return null;
  }
}

export class Client {
  private tag = "";

  constructor(private urls: Live["urls"]) {}

  /** The trace, or null where it is still the one that came last. */
  async trace(checkpoint: string | null): Promise<Snapshot | null> {
    const url = checkpoint === null ? this.urls.trace : `${this.urls.trace}${this.urls.trace.includes("?") ? "&" : "?"}checkpoint=${encodeURIComponent(checkpoint)}`;
    let reply: Response;
    try {
      reply = await fetch(url, { credentials: "same-origin", cache: "no-store", headers: this.tag ? { "If-None-Match": this.tag } : {} });
    } catch {
      throw new Refused("The server does not answer. Is it still running?");
    }
    if (reply.status === 304) return null;
    const body = (await reply.json().catch(() => null)) as (Snapshot & { error?: string }) | null;
    if (!reply.ok || !body) throw new Refused(body?.error ?? `The server refused it (status ${reply.status}).`);
    this.tag = reply.headers.get("ETag") ?? "";
    return body;
  }

  checkpoints = (): Promise<Checkpoint[]> => send(this.urls.checkpoints);
  threads = (): Promise<Thread[]> => send(this.urls.threads);
  fork = (checkpoint: string | null, agents: string[] | null, calls: number | null): Promise<{ thread: string; url: string }> =>
    post(this.urls.fork, { checkpoint, agents, calls });
  edit = (node: string, thought: string): Promise<{ status: Status }> => post(this.urls.edit, { node, thought });
  add = (parent: string, thought: string): Promise<{ status: Status }> => post(this.urls.add, { parent, thought });
  veto = (node: string): Promise<{ status: Status }> => post(this.urls.veto, { node });
  goOn = (calls: number | null): Promise<{ status: Status }> => post(this.urls.continue, { calls });

  /** Tells of changes while the graph runs, until it is closed. */
  listen(changed: () => void, status: (status: Status) => void): () => void {
    const source = new EventSource(this.urls.events);
    source.addEventListener("changed", changed);
    source.addEventListener("status", (event) => {
      try {
        status((JSON.parse((event as MessageEvent<string>).data) as { status: Status }).status);
      } catch {
        // A line that is no JSON says nothing.
      }
    });
    return () => source.close();
  }
}
