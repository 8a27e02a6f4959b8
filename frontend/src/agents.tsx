// One colour and one shape for an agent, wherever it is named.

import type { JSX } from "preact";
import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { PageData } from "./trace";
import { plain, seen } from "./text";

export const COLOURS = 8; // As many as style.css has; further agents repeat them with another shape.
const SHAPES = [
  "M8 2a6 6 0 1 0 .01 0z", // circle
  "M2.5 2.5h11v11h-11z", // square
  "M8 1l7 7-7 7-7-7z", // diamond
  "M8 1.5l7 12.5H1z", // triangle
  "M5.5 1.5h5v4h4v5h-4v4h-5v-4h-4v-5h4z", // cross
  "M8 14.5L1 2h14z", // triangle, downwards
  "M4.5 1.8h7L15 8l-3.5 6.2h-7L1 8z", // hexagon
  "M8 1l2 5h5l-4 3.4L12.600 15 8 11.500 3.400 15 5 9.400 1 6h5z", // star
];
export const PERSON = "person";

export interface Agents {
  names: string[];
}

export const AgentsContext = createContext<Agents>({ names: [] });

/** The agents of all traces, in the order in which they are met: so that a colour holds for the whole file. */
export function agentsOf(data: PageData): Agents {
  const names = new Set<string>(data.live?.agents ?? []);
  for (const trace of data.traces) for (const name of Object.keys(trace.solution.usage)) names.add(name);
  names.delete(PERSON);
  return { names: [...names] };
}

export function lookOf(agents: Agents, name: string): { colour: number | null; shape: number } {
  const at = agents.names.indexOf(name);
  return at < 0 ? { colour: null, shape: 0 } : { colour: at % COLOURS, shape: (at + Math.floor(at / COLOURS)) % SHAPES.length };
}

const takenApart = (name: string): { model: string; host: string } => {
  const found = /^([^\s@]{1,200})@(https?:\/\/([^\s/]{1,300})\S{0,200})$/.exec(name);
  return found ? { model: found[1]!, host: found[3]! } : { model: name, host: "" };
};

/** Of an agent that is named by model and address the model, and its host where two are alike; as `called` in view/text.py. */
export function called(name: string, among: string[]): string {
  const own = takenApart(name);
  const rivals = among.filter((other) => other !== name && takenApart(other).model === own.model);
  if (!own.host || !rivals.length) return own.model;
  return rivals.some((other) => takenApart(other).host === own.host) ? name : `${own.model}@${own.host}`;
}

export function Mark({ name }: { name: string }): JSX.Element {
  const { colour, shape } = lookOf(useContext(AgentsContext), name);
  if (name === PERSON)
    return <svg class="mark" viewBox="0 0 16 16" aria-hidden="true"><path d="M8 1.500a3.200 3.200 0 1 0 .01 0zM2 15c0-4 2.500-6 6-6s6 2 6 6z" /></svg>;
  return <svg class={`mark ${colour === null ? "" : `agent-${colour}`}`} viewBox="0 0 16 16" aria-hidden="true"><path d={SHAPES[shape]} /></svg>;
}

export function Agent({ name }: { name: string | null }): JSX.Element {
  const { names } = useContext(AgentsContext);
  if (!name) return <span class="quiet">no one</span>;
  return <span class="by" title={plain(name)}><Mark name={name} /><bdi>{seen(called(name, names))}</bdi></span>;
}
