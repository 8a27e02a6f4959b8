// The part of the page's address behind `#`: which problem, node and moment are shown, so that a link leads there.

export interface Address {
  problem?: string;
  node?: string;
  call?: number;
}

export function readAddress(hash: string): Address {
  const fields = new URLSearchParams(hash.replace(/^#/, ""));
  const call = Number(fields.get("call") ?? NaN);
  return {
    problem: fields.get("problem") ?? undefined,
    node: fields.get("node") ?? undefined,
    call: Number.isInteger(call) && call >= 0 ? call : undefined,
  };
}

export function addressOf({ problem, node, call }: Address): string {
  const fields = new URLSearchParams();
  if (problem !== undefined) fields.set("problem", problem);
  if (node !== undefined) fields.set("node", node);
  if (call !== undefined) fields.set("call", String(call));
  return `#${fields}`;
}
