// Programs, and what differs between two texts.

import { diffChars, diffLines, diffWordsWithSpace, type ChangeObject } from "diff";
import type { ComponentChildren, JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import { count, seen } from "./text";

const KEYWORDS = new Set(("False None True and as assert async await break case class continue def del elif else except finally "
  + "for from global if import in is lambda match nonlocal not or pass raise return try while with yield").split(" "));
const TOKEN = /(#[^\n]*)|([rRbBfFuU]{0,2}(?:"""[\s\S]*?(?:"""|$)|'''[\s\S]*?(?:'''|$)|"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?))|(\b\d[\w.]*)|([A-Za-z_]\w*)/g;
const MOST_LINES = 160; // Shown at first: a long program is some screens.
const MORE_LINES = 1000;
const MOST_COLOURED = 50_000; // Characters; a program of megabytes is data, and colouring it would take seconds.
const LONGEST_LINE = 2000;

type Piece = [kind: string, text: string];

/** The lines of a program as pieces with the kind of token, which is empty for what has no colour. */
export function tokens(code: string): Piece[][] {
  if (code.length > MOST_COLOURED) return code.split("\n").map((line) => [["", line]]);
  const pieces: Piece[] = [];
  let at = 0;
  for (const match of code.matchAll(TOKEN)) {
    const [text, comment, string, number, word] = match;
    const kind = comment ? "comment" : string ? "string" : number ? "number" : KEYWORDS.has(word ?? "") ? "keyword"
      : /^\s*\(/.test(code.slice(match.index + text.length, match.index + text.length + 20)) ? "name" : "";
    if (!kind) continue;
    pieces.push(["", code.slice(at, match.index)], [kind, text]);
    at = match.index + text.length;
  }
  pieces.push(["", code.slice(at)]);
  const lines: Piece[][] = [[]];
  for (const [kind, text] of pieces)
    text.split("\n").forEach((part, i) => {
      if (i) lines.push([]);
      if (part) lines[lines.length - 1]!.push([kind, part]);
    });
  return lines;
}

const Line = ({ pieces }: { pieces: Piece[] }): JSX.Element => (
  <>{pieces.map(([kind, text]) => (kind ? <span class={kind}>{seen(text.slice(0, LONGEST_LINE))}</span> : seen(text.slice(0, LONGEST_LINE))))}</>
);

/** A program with line numbers; lines at which a test failed are marked. */
export function Code({ code, failing }: { code: string; failing?: ReadonlySet<number> }): JSX.Element {
  const [shown, show] = useState(MOST_LINES);
  const lines = useMemo(() => tokens(code.replace(/\n+$/, "")), [code]);
  return (
    <div class="code" role="group" aria-label="Program" tabIndex={0}>
      <pre>
        {lines.slice(0, shown).map((pieces, i) => (
          <div class={failing?.has(i + 1) ? "line failing" : "line"} title={failing?.has(i + 1) ? "A test failed at this line" : undefined}>
            <span class="at" aria-hidden="true">{i + 1}</span><code><Line pieces={pieces} />{"\n"}</code>
          </div>
        ))}
      </pre>
      {lines.length > shown && <button type="button" class="more" onClick={() => show(shown + MORE_LINES)}>{`show more of ${count(lines.length)} lines`}</button>}
    </div>
  );
}

const MOST_EDITS = 2000; // Beyond that two programs have nothing to do with each other, and the search for an edit takes seconds.
const CONTEXT = 3; // Lines around a change, as in a patch.

interface DiffLine {
  sign: " " | "+" | "-";
  text: string;
  other?: string; // The line that took its place, or whose place it took.
}

/** The lines of two programs side by side in one column; null where they have too little in common. */
export function diffOf(before: string, after: string): DiffLine[] | null {
  const changes = diffLines(before.replace(/\n*$/, "\n"), after.replace(/\n*$/, "\n"), { maxEditLength: MOST_EDITS });
  if (!changes) return null;
  const found: DiffLine[] = [];
  changes.forEach((change, i) => {
    const lines = change.value.replace(/\n$/, "").split("\n");
    const sign = change.added ? "+" : change.removed ? "-" : " ";
    const partner = change.removed ? changes[i + 1] : change.added ? changes[i - 1] : undefined;
    const pair = partner && partner.added !== partner.removed && partner.added !== change.added && (partner.added || partner.removed)
      ? partner.value.replace(/\n$/, "").split("\n") : [];
    // Words are compared where as many lines took the place of others.
    lines.forEach((text, at) => found.push({ sign, text, other: pair.length === lines.length ? pair[at] : undefined }));
  });
  return found;
}

/** What a repair changed, with the lines around it. */
export function Diff({ before, after }: { before: string; after: string }): JSX.Element {
  const lines = useMemo(() => diffOf(before, after), [before, after]);
  if (!lines) return <p class="quiet">The two programs have too little in common to compare them.</p>;
  if (lines.every((line) => line.sign === " ")) return <p class="quiet">Nothing changed: it is the same program.</p>;
  const near = lines.map((_, i) => lines.slice(Math.max(0, i - CONTEXT), i + CONTEXT + 1).some((line) => line.sign !== " "));
  const rows: JSX.Element[] = [];
  let skipped = 0;
  lines.forEach((line, i) => {
    if (!near[i]) return void skipped++;
    if (skipped) rows.push(<div class="line skipped">{`\u22ef ${skipped} unchanged`}</div>);
    skipped = 0;
    rows.push(<DiffRow line={line} />);
  });
  if (skipped) rows.push(<div class="line skipped">{`\u22ef ${skipped} unchanged`}</div>);
  return <div class="code diff" role="group" aria-label="What the repair changed" tabIndex={0}><pre>{rows}</pre></div>;
}

function DiffRow({ line }: { line: DiffLine }): JSX.Element {
  const kind = line.sign === "+" ? "added" : line.sign === "-" ? "removed" : "";
  const name = line.sign === "+" ? "added: " : line.sign === "-" ? "removed: " : "";
  let inner: ComponentChildren = seen(line.text.slice(0, LONGEST_LINE));
  if (line.other !== undefined && Math.max(line.text.length, line.other.length) < LONGEST_LINE) {
    const words = line.sign === "-" ? diffWordsWithSpace(line.text, line.other) : diffWordsWithSpace(line.other, line.text);
    inner = parts(words, line.sign === "-" ? "removed" : "added");
  }
  return <div class={`line ${kind}`}><span class="at" aria-hidden="true">{line.sign}</span><code>{name && <span class="hear">{name}</span>}{inner}{"\n"}</code></div>;
}

/** One side of a comparison: what it shares with the other, and what it alone has. */
function parts(changes: ChangeObject<string>[], own: "added" | "removed", kind: string = own): ComponentChildren {
  return changes.filter((one) => one[own] || !(one.added || one.removed))
    .map((one) => (one[own] ? <mark class={kind}>{seen(one.value)}</mark> : seen(one.value)));
}

const MOST_COMPARED = 1500; // Characters of a value that are compared one by one.

/** Two values, with the characters marked that one of them alone has. */
export function compared(expected: string, actual: string): { expected: ComponentChildren; actual: ComponentChildren } | null {
  if (!expected || !actual || expected === actual || Math.max(expected.length, actual.length) > MOST_COMPARED) return null;
  const changes = diffChars(expected, actual, { maxEditLength: 400 });
  // Where nearly nothing is shared, marks on single letters would only confuse.
  const same = changes?.reduce((sum, one) => sum + (one.added || one.removed ? 0 : one.value.length), 0) ?? 0;
  if (!changes || same * 3 < Math.min(expected.length, actual.length)) return null;
  return { expected: parts(changes, "removed", "differs"), actual: parts(changes, "added", "differs") };
}
