"""Which rows of an evaluation are made next, and what each starts from.

Solvers that learn start from what moves gave on earlier problems, by the blocks of `runs.blocks`: each solver
from its own, and each sample too, so that samples stay as independent as if the evaluation was run again.
"""

from collections.abc import Collection, Sequence
from functools import reduce

from bdc_agents.evaluate.results import Key, Results, Row
from bdc_agents.runs.blocks import block_of, known_to, open_until
from bdc_agents.search.beliefs import Beliefs, read_beliefs
from bdc_agents.types import Frozen


class Lot(Frozen):
    """A row to make.

    Args:
        key: Of the row.
        known: What moves gave on earlier problems.
    """

    key: Key
    known: Beliefs = Beliefs()


class Order:
    """The rows that are still to be made.

    Args:
        wanted: All rows of the evaluation, in order.
        results: The folder, with the rows that are there.
        learning: Names of the solvers that start from what moves gave on earlier problems.
    """

    def __init__(self, wanted: Sequence[Key], results: Results, learning: Collection[str] = ()) -> None:
        self._results = results
        self._learning = frozenset(learning)
        self._waiting = [key for key in wanted if key not in results.done]
        self._places: dict[Key, int] = {}
        self._chains: dict[tuple[str, int], _Chain] = {}
        for key in wanted:
            chain = self._chains.setdefault(key[1:], _Chain())
            self._places[key] = chain.length
            chain.length += 1
        for row in results.rows:
            if row.key in self._places:
                self.made(row)

    @property
    def waiting(self) -> int:
        """Rows that nobody has taken yet."""
        return len(self._waiting)

    def take(self) -> Lot | None:
        """The next row; None if none may start before another one has ended."""
        for number, key in enumerate(self._waiting):
            if key[1] not in self._learning:
                del self._waiting[number]
                return Lot(key=key)
            if self._places[key] < open_until(self._chains[key[1:]].unfinished):
                del self._waiting[number]
                return Lot(key=key, known=self._known(key))
        return None

    def made(self, row: Row) -> None:
        """Notes a row that is finished."""
        self._chains[row.key[1:]].end(self._places[row.key], read_beliefs(row.beliefs))

    def missed(self, key: Key) -> None:
        """Notes a row that cannot be made now; nobody waits for it."""
        self._chains[key[1:]].end(self._places[key], None)

    def give_back(self, keys: Sequence[Key]) -> None:
        """Puts rows back, before all others."""
        self._waiting[:0] = keys

    def _known(self, key: Key) -> Beliefs:
        """What a row starts from: written down once, so that all of a block start alike."""
        block = block_of(self._places[key])
        if not known_to(block):
            return Beliefs()
        _, solver, sample = key
        known = self._results.known.get((solver, sample, block))
        if known is None:
            known = self._chains[key[1:]].told_before(known_to(block))
            self._results.keep_known(solver, sample, block, known)
        return known


class _Chain:
    """The rows of one solver and sample, by the place of their problem."""

    def __init__(self) -> None:
        self.length = 0
        self.unfinished = 0
        self._told: dict[int, Beliefs | None] = {}

    def end(self, place: int, told: Beliefs | None) -> None:
        if told is not None or place not in self._told:
            self._told[place] = told
        while self.unfinished in self._told:
            self.unfinished += 1

    def told_before(self, place: int) -> Beliefs:
        found = (self._told[number] for number in range(place))
        return reduce(Beliefs.plus, (told for told in found if told), Beliefs())
