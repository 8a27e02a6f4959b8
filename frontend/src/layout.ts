// Where the boxes of the tree go. Pure: the same tree and folds give the same places.
//
// A node stands beside its first child, not in the middle of all: a path reads along a line, and a box can stay in sight for
// as long as something that hangs on it is.

import { ROOT, type Search } from "./search";
import type { TreeNode } from "./trace";

export const BOX = { width: 236, height: 78, row: 28, gapX: 44, gapY: 12 };
const FEWEST_FOLDED = 2; // One row for one node would save nothing.

/** A box: a node, or one row that stands for the children of `id` that have no program. */
export interface Item {
  key: string;
  id: string;
  node: TreeNode | null;
  hidden: string[];
  parent: Item | null;
  kids: Item[];
  x: number;
  y: number;
  height: number;
  /** Where all that hangs on it ends. */
  end: number;
  depth: number;
  /** Place among its siblings, from 1, and their number. */
  place: number;
  of: number;
}

export interface Drawing {
  items: Item[];
  byKey: Map<string, Item>;
  columns: Item[][];
  width: number;
  height: number;
}

export interface Folds {
  /** Nodes whose children are hidden. */
  closed: ReadonlySet<string>;
  /** Nodes that show each of their children that have no program. */
  opened: ReadonlySet<string>;
}

export const restKey = (id: string): string => `${id}+`;

/** Whether nothing was ever made of a node. */
export const isIdle = (search: Search, id: string): boolean => {
  const node = search.nodes.get(id);
  return !!node && !node.children.length && !node.attempts.length && node.value === null && !node.pruned
    && node.thought?.agent !== "person" && !search.onPath.has(id);
};

export function layout(search: Search, folds: Folds): Drawing {
  const root = search.nodes.get(ROOT);
  if (!root) return { items: [], byKey: new Map(), columns: [], width: 0, height: 0 };
  return place(grow(search, folds, root));
}

function grow(search: Search, folds: Folds, root: TreeNode): Item {
  const item = (node: TreeNode | null, id: string, parent: Item | null, hidden: string[] = []): Item => ({
    key: node ? id : restKey(id), id, node, hidden, parent, kids: [], x: 0, y: 0,
    height: node ? BOX.height : BOX.row, end: 0, depth: parent ? parent.depth + 1 : 0, place: 1, of: 1,
  });
  const top = item(root, ROOT, null);
  const stack = [top];
  while (stack.length) {
    const one = stack.pop()!;
    if (!one.node || folds.closed.has(one.id)) continue;
    const children = one.node.children.filter((id) => search.nodes.has(id));
    const idle = folds.opened.has(one.id) ? [] : children.filter((id) => isIdle(search, id));
    const rest = new Set(idle.length >= FEWEST_FOLDED ? idle : []);
    for (const id of children) if (!rest.has(id)) one.kids.push(item(search.nodes.get(id)!, id, one));
    if (rest.size) one.kids.push(item(null, one.id, one, idle));
    one.kids.forEach((kid, i) => { kid.place = i + 1; kid.of = one.kids.length; stack.push(kid); });
  }
  return top;
}

function place(top: Item): Drawing {
  const items: Item[] = [], columns: Item[][] = [];
  // Without recursion: a tree may be as deep as a search is long.
  const stack: [Item, boolean][] = [[top, false]];
  let next = 0;
  while (stack.length) {
    const [item, done] = stack.pop()!;
    if (done) {
      next = Math.max(next, item.y + item.height + BOX.gapY);
      item.end = next - BOX.gapY;
      continue;
    }
    item.x = item.depth * (BOX.width + BOX.gapX);
    item.y = next;
    items.push(item);
    (columns[item.depth] ??= []).push(item);
    stack.push([item, true]);
    for (let i = item.kids.length - 1; i >= 0; i--) stack.push([item.kids[i]!, false]);
  }
  return {
    items, columns, byKey: new Map(items.map((item) => [item.key, item])),
    width: (columns.length - 1) * (BOX.width + BOX.gapX) + BOX.width, height: next - BOX.gapY,
  };
}

/** Where an arrow key leads: along a column as the eye sees it, to the first child, or to the parent. */
export function neighbour(drawing: Drawing, item: Item, key: string): Item | null {
  const column = drawing.columns[item.depth] ?? [];
  const at = column.indexOf(item);
  switch (key) {
    case "ArrowUp": return column[at - 1] ?? null;
    case "ArrowDown": return column[at + 1] ?? null;
    case "ArrowLeft": return item.parent;
    case "ArrowRight": return item.kids[0] ?? null;
    case "Home": return drawing.items[0] ?? null;
    case "End": return column[column.length - 1] ?? null;
    default: return null;
  }
}

/** A bar of the overview: depth from the left, and a share of the height in [0, 1]. */
export interface Bar {
  id: string;
  depth: number;
  from: number;
  to: number;
}

/** The whole tree as bars: each node is as high as what is below it; a node without a program counts a fifth. */
export function icicle(search: Search): { bars: Bar[]; depth: number } {
  const weight = new Map<string, number>();
  for (const node of [...search.trace.nodes].reverse()) {
    const below = node.children.reduce((sum, id) => sum + (weight.get(id) ?? 0), 0);
    weight.set(node.id, below || (isIdle(search, node.id) ? 0.2 : 1));
  }
  const bars: Bar[] = [], starts = new Map<string, number>([[ROOT, 0]]);
  const all = weight.get(ROOT) || 1;
  let depth = 0;
  for (const node of search.trace.nodes) {
    const from = starts.get(node.id);
    if (from === undefined) continue;
    const level = node.id.split(".").length - 1;
    depth = Math.max(depth, level);
    bars.push({ id: node.id, depth: level, from: from / all, to: (from + weight.get(node.id)!) / all });
    let next = from;
    for (const id of node.children) {
      if (!weight.has(id)) continue;
      starts.set(id, next);
      next += weight.get(id)!;
    }
  }
  return { bars, depth };
}
