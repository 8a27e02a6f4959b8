// A program with its verdict: one line, and when it is opened its code, what it changed, and each test.

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Agent } from "./agents";
import { Code, compared, Diff } from "./code";
import { outcomeOf, passes, type Search, type Written } from "./search";
import type { Program, TestResult, Verdict } from "./trace";
import { count, duration, plural, Text } from "./text";
import { Bar, Copy, Passed, Sign } from "./ui";

const MOST_TESTS = 30;

export function Tests({ verdict }: { verdict: Verdict | null }): JSX.Element | null {
  const [shown, show] = useState(MOST_TESTS);
  if (!verdict?.results.length) return null;
  return (
    <>
      <ol class="test-list">{verdict.results.slice(0, shown).map((result, i) => <Test result={result} number={i + 1} />)}</ol>
      {verdict.results.length > shown && <button type="button" class="more" onClick={() => show(shown + 1000)}>{`show all ${count(verdict.results.length)} tests`}</button>}
    </>
  );
}

function Test({ result, number }: { result: TestResult; number: number }): JSX.Element {
  const passed = result.outcome === "passed";
  return (
    <li class={passed ? "test passed" : "test"}>
      <Sign outcome={passed ? "pass" : result.outcome === "wrong" ? "wrong" : "error"} />
      <div class="what">
        {result.shown ? <Text as="div" class="mono" most={300}>{result.shown}</Text> : <span class="quiet">{`test ${number}`}</span>}
        {!passed && <Difference result={result} />}
      </div>
      {!passed && result.outcome !== "wrong" && <span class="tag bad">{result.outcome}</span>}
    </li>
  );
}

/** What a failed test expected and what came. */
export function Difference({ result }: { result: TestResult }): JSX.Element {
  const marked = compared(result.expected, result.actual);
  const cell = (text: string, own: ComponentChildren): JSX.Element => (own ? <span class="foreign">{own}</span> : <Text most={800}>{text}</Text>);
  return (
    <dl class="difference">
      {result.expected && <><dt>expected</dt><dd>{cell(result.expected, marked?.expected)}</dd></>}
      {(result.actual || !result.error) && <><dt>actual</dt><dd>{result.actual ? cell(result.actual, marked?.actual) : <span class="quiet">(nothing)</span>}</dd></>}
      {result.error && <><dt>error</dt><dd class="bad"><Text most={800}>{result.error}</Text>{result.line !== null && ` (line ${result.line})`}</dd></>}
    </dl>
  );
}

export function Body({ program, before }: { program: Program; before?: Program | null }): JSX.Element {
  const [whole, setWhole] = useState(!before);
  const failing = new Set((program.verdict?.results ?? []).map((one) => one.line).filter((line) => line !== null));
  return (
    <>
      <div class="row tools">
        {before && (
          <div class="switch" role="group" aria-label="Show">
            <button type="button" aria-pressed={!whole} onClick={() => setWhole(false)}>What it changed</button>
            <button type="button" aria-pressed={whole} onClick={() => setWhole(true)}>Whole program</button>
          </div>
        )}
        <Copy text={program.code} label="Copy program" />
      </div>
      {whole || !before ? <Code code={program.code} failing={failing} /> : <Diff before={before.code} after={program.code} />}
      <Tests verdict={program.verdict} />
    </>
  );
}

/** An attempt: a line, which opens. */
export function AttemptRow({ search, written, times, before, open }: { search: Search; written: Written; times: number; before: Program | null; open: boolean }): JSX.Element {
  const [shown, show] = useState(open);
  useEffect(() => show(open), [open, written]);
  const { attempt, program, call } = written;
  const record = call === null ? null : search.calls[call]!;
  const tested = passes(program?.verdict);
  return (
    <details class="attempt" open={shown} onToggle={(event) => show(event.currentTarget.open)}>
      <summary>
        <Sign outcome={outcomeOf(program)} />
        <Passed verdict={program?.verdict} />
        <Bar value={attempt.reward} />
        <Agent name={attempt.agent} />
        <span class="quiet facts">
          {times > 1 && <span>{`\u00d7${times}`}</span>}
          {call !== null && <span>{`call ${call + 1}`}</span>}
          {record && <span>{record.cached ? "from the cache" : duration(record.seconds)}</span>}
          {record && <span>{`${count(record.prompt_tokens + record.completion_tokens)} tok`}</span>}
          {attempt.refined && <span>for the refined thought</span>}
        </span>
      </summary>
      {shown && (program
        ? <div class="inner">{tested ? null : <p class="quiet">It has not run on any test.</p>}<Body program={program} before={before} /></div>
        : <p class="quiet inner">{`${plural(1, "reply", "replies")} without a program.`}</p>)}
    </details>
  );
}
