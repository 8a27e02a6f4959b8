// Foreign texts on the screen. Each was written by a model or a program, perhaps to mislead: it enters the page as text
// nodes alone, what cannot be seen is shown as a badge, and what is long is cut until somebody asks for it.

import type { ComponentChildren, JSX } from "preact";
import { useState } from "preact/hooks";

// Controls but for tab and newline, direction marks and isolates, what has no width, tags, and lone surrogates.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb]|\udb40[\udc00-\udfff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;
const NAMES: Record<number, string> = {
  0x00: "NUL", 0x07: "BEL", 0x08: "BS", 0x0c: "FF", 0x0d: "CR", 0x1b: "ESC", 0x7f: "DEL", 0x85: "NEL", 0x9b: "CSI", 0xad: "SHY",
  0x200b: "ZWSP", 0x200c: "ZWNJ", 0x200d: "ZWJ", 0x200e: "LRM", 0x200f: "RLM", 0x2028: "LS", 0x2029: "PS", 0x202a: "LRE",
  0x202b: "RLE", 0x202c: "PDF", 0x202d: "LRO", 0x202e: "RLO", 0x2060: "WJ", 0x2066: "LRI", 0x2067: "RLI", 0x2068: "FSI",
  0x2069: "PDI", 0xfeff: "BOM", 0x061c: "ALM",
};

const codeOf = (sign: string): string => `U+${sign.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}`;
const nameOf = (sign: string): string => NAMES[sign.codePointAt(0)!] ?? codeOf(sign);

export const hasUnseen = (text: string): boolean => new RegExp(UNSEEN.source).test(text);

/** For attributes and titles, where no badge can stand: marks in brackets. */
export const plain = (text: string, most = 300): string =>
  cut(text, most).replace(UNSEEN, (sign) => `[${nameOf(sign)}]`).replace(/\s+/g, " ");

/** The pieces of a text: what can be seen as it is, the rest as badges. */
export function seen(text: string): ComponentChildren {
  if (!hasUnseen(text)) return text;
  const pieces: ComponentChildren[] = [];
  let at = 0;
  for (const found of text.matchAll(UNSEEN)) {
    if (found.index > at) pieces.push(text.slice(at, found.index));
    pieces.push(<span class="unseen" title={`${codeOf(found[0])}, a character that cannot be seen`}>{nameOf(found[0])}</span>);
    at = found.index + found[0].length;
  }
  pieces.push(text.slice(at));
  return pieces;
}

export const cut = (text: string, length: number): string => (text.length > length ? `${text.slice(0, length - 1).trimEnd()}\u2026` : text);

const MOST = 4000; // Characters of a field that are shown at first: two screens.
const MORE = 200_000; // And once asked for more, each time: what a browser lays out without a pause.

/** A text of any length. `as` is the element that holds it. */
export function Text({ children, as: As = "span", class: kind = "", most = MOST }: {
  children: string; as?: "span" | "p" | "pre" | "div"; class?: string; most?: number;
}): JSX.Element {
  const [shown, show] = useState(most);
  const text = children ?? "";
  return (
    <As class={`foreign ${kind}`}>
      {seen(text.slice(0, shown))}
      {text.length > shown && (
        <button type="button" class="more" onClick={() => show(shown + MORE)}>
          {`\u2026 show more of ${count(text.length)} characters`}
        </button>
      )}
    </As>
  );
}

// --- numbers ----------------------------------------------------------------------------------

export const isNumber = (value: unknown): value is number => typeof value === "number";
export const share = (value: number | null | undefined): string => (isNumber(value) ? value.toFixed(2) : "\u2013");
export const count = (value: number): string => value.toLocaleString("en");
export const plural = (number: number, noun: string, many = `${noun}s`): string => `${count(number)} ${number === 1 ? noun : many}`;

export function money(value: number | null): string {
  if (!isNumber(value)) return "no price known";
  if (value > 0 && value < 0.0001) return "<$0.0001";
  return `$${value === 0 || value >= 1 ? value.toFixed(2) : value.toFixed(4)}`;
}

export function duration(seconds: number): string {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  return seconds < 60 ? `${seconds.toFixed(1)} s` : `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}
