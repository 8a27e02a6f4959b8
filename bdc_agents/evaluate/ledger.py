"""Hands out the rows of an evaluation to many nodes, and collects the results."""

from collections.abc import Callable, Sequence

from bdc_agents.evaluate.order import Lot, Order
from bdc_agents.evaluate.results import Key, Results, Row
from bdc_agents.evaluate.run import FAILURES_ALLOWED, Unanswered
from bdc_agents.types import Trace

CALLED = ("lease", "done", "unanswered")
"""What workers call of their `LedgerSide`."""
OnRow = Callable[[Row | Unanswered], None]


class Ledger:
    """The rows to make, those that nodes hold, and the results of the others.

    Args:
        order: The rows to make.
        results: The folder of the evaluation.
        on_row: Takes each row as it comes in.
    """

    def __init__(self, order: Order, results: Results, on_row: OnRow) -> None:
        self._order = order
        self._sides: list[LedgerSide] = []
        self._results = results
        self._on_row = on_row
        self.made = 0
        self.unanswered: dict[Key, Unanswered] = {}
        self.error: Exception | None = None
        """Why no row can be kept any more."""

    @property
    def open(self) -> int:
        """Number of rows that are not made yet, including those that nodes hold."""
        return self._order.waiting + sum(len(side.held) for side in self._sides)

    def side(self) -> "LedgerSide":
        """One node's part."""
        self._sides.append(LedgerSide(self))
        return self._sides[-1]

    def take(self) -> Lot | tuple[()] | None:
        """The next row; nothing yet if nodes hold all that may start, None if nothing is left."""
        if self.error is not None or not self.open:
            return None
        lot = self._order.take()
        if lot is None:
            return ()
        self.unanswered.pop(lot.key, None)
        return lot

    def keep(self, row: Row, trace: Trace) -> None:
        """Keeps a finished row.

        Raises:
            BDCError: If the disk is full or fails.
        """
        try:
            self._results.add(row, trace)
        except Exception as error:
            self.error = error
            raise
        self._order.made(row)
        self.made += 1
        self._on_row(row)

    def miss(self, row: Unanswered) -> None:
        """Notes that no agent answered for a row."""
        self._order.missed(row.key)
        self.unanswered[row.key] = row
        self._on_row(row)

    def give_back(self, keys: Sequence[Key]) -> None:
        """Puts rows back, before all others."""
        self._order.give_back(keys)


class LedgerSide:
    """The rows of one node.

    Args:
        ledger: The rows of all nodes.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._missed: list[Key] = []
        self.held: dict[Key, None] = {}

    async def lease(self) -> Lot | tuple[()] | None:
        """See `Ledger.take`."""
        if lot := self._ledger.take():
            self.held[lot.key] = None
        return lot

    async def done(self, row: Row, trace: Trace) -> None:
        """Hands over a row."""
        self._ledger.keep(row, trace)
        self.held.pop(row.key, None)
        self._missed.clear()

    async def unanswered(self, row: Unanswered) -> None:
        """Reports that no agent answered for a row."""
        self._ledger.miss(row)
        self.held.pop(row.key, None)
        self._missed.append(row.key)

    async def lost(self) -> None:
        """Gives back the rows that the node holds; also those it missed, if its agents are gone."""
        missed = self._missed if len(self._missed) >= FAILURES_ALLOWED else []
        held, self.held = [*self.held], {}
        self._ledger.give_back([*held, *missed])
