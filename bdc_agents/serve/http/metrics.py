"""Metrics of the server, in the text format of Prometheus.

Not by prometheus_client: its counters add a `_created` series each, which only a switch of the whole process
turns off, and the server may run within somebody's application. To import it takes 0.2 s of CPU.
"""

import threading
from bisect import bisect_left
from collections import defaultdict

Labels = tuple[tuple[str, str], ...]
_BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Upper bounds of the histograms' buckets, in seconds. From the first token of a small model to the default
time limit of an answer; chosen, not measured."""
_HELP = {
    "bdc_requests_total": ("counter", "Requests, by model and HTTP status."),
    "bdc_refused_total": ("counter", "Requests that were refused, by reason."),
    "bdc_prompt_tokens_total": ("counter", "Tokens of prompts that were answered."),
    "bdc_completion_tokens_total": ("counter", "Tokens of replies."),
    "bdc_requests_in_flight": ("gauge", "Requests in progress."),
    "bdc_request_seconds": ("histogram", "Time to the end of a reply."),
    "bdc_first_token_seconds": ("histogram", "Time to the first text of a stream."),
}


class Metrics:
    """The metrics of one server; several threads may use them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, dict[Labels, float]] = defaultdict(lambda: defaultdict(float))
        self._buckets: dict[str, list[int]] = {}
        self._sums: dict[str, float] = defaultdict(float)

    def add(self, name: str, amount: float = 1, **labels: str) -> None:
        """Adds to a counter or a gauge."""
        with self._lock:
            self._values[name][tuple(sorted(labels.items()))] += amount

    def observe(self, name: str, seconds: float) -> None:
        """Adds an observation to a histogram."""
        with self._lock:
            buckets = self._buckets.setdefault(name, [0] * (len(_BOUNDS) + 1))
            buckets[bisect_left(_BOUNDS, seconds)] += 1
            self._sums[name] += seconds

    def text(self) -> str:
        """All metrics as text."""
        lines: list[str] = []
        with self._lock:
            for name, (kind, told) in _HELP.items():
                lines += [f"# HELP {name} {told}", f"# TYPE {name} {kind}"]
                lines += self._histogram(name) if kind == "histogram" else self._plain(name)
        return "\n".join(lines) + "\n"

    def _plain(self, name: str) -> list[str]:
        values = self._values.get(name) or {(): 0.0}
        return [f"{name}{_shown(labels)} {value:g}" for labels, value in sorted(values.items())]

    def _histogram(self, name: str) -> list[str]:
        buckets = self._buckets.get(name, [0] * (len(_BOUNDS) + 1))
        lines, total = [], 0
        for bound, count in zip((*map(str, _BOUNDS), "+Inf"), buckets, strict=True):
            total += count
            lines.append(f'{name}_bucket{{le="{bound}"}} {total}')
        return [*lines, f"{name}_sum {self._sums[name]:g}", f"{name}_count {total}"]


def _shown(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
