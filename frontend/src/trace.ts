// A trace as docs/traces.md has it (versions 1 and 2), and what live pages carry beside it.

export interface Usage {
  calls: number;
  cached: number;
  failed: number;
  malformed: number;
  prompt_tokens: number;
  completion_tokens: number;
  cost: number | null;
  seconds: number;
}

export interface TestResult {
  outcome: string;
  shown: string;
  expected: string;
  actual: string;
  error: string;
  line: number | null;
  seconds: number;
}

export interface Verdict {
  results: TestResult[];
  tier: string;
  seconds: number;
}

export interface Program {
  code: string;
  agent: string;
  verdict: Verdict | null;
}

export interface Thought {
  text: string;
  agent: string;
  prior: number;
}

export interface Attempt {
  program: string;
  agent: string;
  author: string;
  reward: number;
  refined: boolean;
}

export interface TreeNode {
  id: string;
  parent: string | null;
  children: string[];
  thought: Thought | null;
  visits: number;
  returns: number;
  best_return: number;
  value: number | null;
  evaluations: number;
  attempts: Attempt[];
  refined: Thought | null;
  pruned: boolean;
  closed: boolean;
  mends?: string;
  kind?: string;
}

export interface Move {
  kind: string;
  agent: string;
  node: string;
  program: string;
  before: string;
  gain: number;
}

export interface Call {
  order: number;
  agent: string;
  purpose: string;
  node: string;
  move: Move | null;
  prompt_tokens: number;
  completion_tokens: number;
  cost: number | null;
  seconds: number;
  cached: boolean;
  error: string;
  unread: string;
  said: string;
}

export interface Review {
  asked: string;
  decision: string;
  by: string;
  node: string;
  program: string;
  text: string;
  rollouts: number;
  caps: Record<string, number>;
}

export interface PublicTest {
  kind: string;
  stdin?: string;
  call?: string;
  code?: string;
  expected?: string[];
}

export interface Problem {
  id: string;
  statement: string;
  starter_code: string;
  difficulty: string | null;
  tags: string[];
  public_tests: PublicTest[];
}

export interface Solution {
  problem_id: string;
  solved: boolean;
  code: string;
  reward: number;
  agent: string | null;
  node: string | null;
  verdict: Verdict | null;
  confirmed: boolean | null;
  stopped_by: string;
  usage: Record<string, Usage>;
  set_aside: Record<string, string>;
  notes: string[];
  tree: { nodes: number; evaluated: number; pruned: number; refined: number; depth: number; programs: number; rollouts: number };
  matrix: Record<string, Record<string, number>>;
  tier: string;
  seconds: number;
}

export interface Split {
  input: string;
  agent: string;
  expected: string;
  answers: Record<string, string[]>;
  fits: string;
  weight: number;
}

export interface Trace {
  version: number;
  problem: Problem;
  solution: Solution;
  nodes: TreeNode[];
  programs: Record<string, Program>;
  calls: Call[];
  beliefs: Record<string, Record<string, number[]>>;
  split: Split | null;
  reviews: Review[];
  settings: Record<string, unknown>;
  created: string;
  package: string;
  decision: { kept: boolean; reasons: string[]; hidden: { passed: number; total: number } | null } | null;
  lineage: { dataset: string; models: Record<string, string> } | null;
}

export type Status = "idle" | "busy" | "interrupted" | "error";

export interface Live {
  thread: string;
  checkpoint: string | null;
  status: Status;
  agents: string[];
  /** Null for what cannot be done with this search. */
  urls: Record<"trace" | "events" | "checkpoints" | "threads", string> & Record<"fork" | "edit" | "add" | "veto" | "continue", string | null>;
}

export interface PageData {
  title: string;
  traces: Trace[];
  live: Live | null;
}
