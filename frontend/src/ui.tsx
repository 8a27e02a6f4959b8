// Small parts that every view uses.

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { passes } from "./search";
import type { Verdict } from "./trace";
import { hasUnseen } from "./text";

export type Outcome = "pass" | "part" | "wrong" | "error" | "none";
const GLYPHS: Record<Outcome, [glyph: string, name: string]> = {
  pass: ["\u2713", "passes"], part: ["\u25d0", "passes in part"], wrong: ["\u2717", "wrong"], error: ["!", "ends in an error"], none: ["\u00b7", "not run"],
};

/** A program's outcome as a sign that is told by its shape, not its colour alone. */
export const Sign = ({ outcome }: { outcome: Outcome }): JSX.Element => (
  <span class={`sign ${outcome}`} role="img" aria-label={GLYPHS[outcome][1]} title={GLYPHS[outcome][1]}>{GLYPHS[outcome][0]}</span>
);

/** A share in [0, 1] as a bar. */
export const Bar = ({ value, pass }: { value: number | null; pass?: boolean }): JSX.Element => (
  <span class="bar" aria-hidden="true"><span class={pass ?? (value ?? 0) >= 1 ? "full" : ""} style={{ width: `${Math.round(100 * Math.min(1, Math.max(0, value ?? 0)))}%` }} /></span>
);

export const Passed = ({ verdict }: { verdict: Verdict | null | undefined }): JSX.Element => {
  const found = passes(verdict);
  return found ? <span class="tests">{`${found.passed}/${found.of}`}</span> : <span class="tests quiet">{"\u2013"}</span>;
};

export async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without a secure context there is the old way alone.
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "hear";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

export function Copy({ text, label = "Copy", class: kind = "" }: { text: string; label?: string; class?: string }): JSX.Element {
  const [said, say] = useState("");
  const timer = useRef(0);
  useEffect(() => () => clearTimeout(timer.current), []);
  const done = async (): Promise<void> => {
    const copied = await copy(text);
    say(copied ? (hasUnseen(text) ? "Copied, hidden characters too" : "Copied") : "Could not copy");
    clearTimeout(timer.current);
    timer.current = window.setTimeout(() => say(""), 2500);
  };
  return <button type="button" class={kind} onClick={done}>{label}<span class="said" role="status">{said && ` \u2014 ${said}`}</span></button>;
}

/** A section that opens: its heading is told also while it is closed. */
export function Section({ title, note, open, id, children }: {
  title: string; note?: ComponentChildren; open?: boolean; id?: string; children: ComponentChildren;
}): JSX.Element {
  const [shown, show] = useState(!!open);
  useEffect(() => {
    const all = (): void => show(true); // On paper nothing can be opened.
    addEventListener("beforeprint", all);
    return () => removeEventListener("beforeprint", all);
  }, []);
  return (
    <details class="section" id={id} open={shown} onToggle={(event) => show(event.currentTarget.open)}>
      <summary><h2>{title}</h2>{note && <span class="quiet">{note}</span>}</summary>
      {shown && <div class="inner">{children}</div>}
    </details>
  );
}

/** A table that scrolls by itself where it is wider than the page. Heads with `>` are of numbers. */
export function Table({ heads, rows, label, class: kind = "" }: {
  heads: ComponentChildren[]; rows: ComponentChildren[][]; label: string; class?: string;
}): JSX.Element {
  const right = heads.map((head) => typeof head === "string" && head.startsWith(">"));
  return (
    <div class={`scroll ${kind}`} role="region" aria-label={label} tabIndex={0}>
      <table>
        <thead><tr>{heads.map((head, i) => <th scope="col" class={right[i] ? "right" : ""}>{right[i] ? (head as string).slice(1) : head}</th>)}</tr></thead>
        <tbody>{rows.map((row) => <tr>{row.map((cell, i) => <td class={right[i] ? "right" : ""}>{cell}</td>)}</tr>)}</tbody>
      </table>
    </div>
  );
}

export const still = (): boolean => matchMedia("(prefers-reduced-motion: reduce)").matches;
