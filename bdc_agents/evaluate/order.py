"""Which rows of an evaluation are made next, and what each starts from.

Solvers that learn start from what moves gave on earlier problems, by the blocks of `runs.blocks`: each solver
from its own, and each sample too, so that samples stay as independent as if the evaluation was run again.
Where the problems of a solver share a pool, rows are made anew with what others left, by `runs.pool`.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import reduce

from bdc_agents.config import Budget
from bdc_agents.evaluate.results import Key, Results, Row
from bdc_agents.evaluate.solvers.protocol import Start
from bdc_agents.runs.sharing.blocks import block_of, known_to, open_until
from bdc_agents.runs.sharing.pool import Ended, first_share, next_shares
from bdc_agents.search.policy.beliefs import Beliefs, read_beliefs
from bdc_agents.search.round.budget import Amount, caps_on_calls
from bdc_agents.types import Frozen


class Lot(Frozen):
    """A row to make, and what its solver starts from."""

    key: Key
    start: Start = Start()


class Shared(Frozen):
    """A budget that the problems of each solver and sample share.

    Args:
        pool: Of all problems.
        each: Of one problem; it gets no more at first.
        lifted: By solver, what ends it that a larger budget lifts.
    """

    pool: Budget
    each: Budget
    lifted: dict[str, frozenset[str]]


class Order:
    """The rows that are still to be made.

    Args:
        wanted: All rows of the evaluation, in order.
        results: The folder, with the rows that are there.
        learning: Names of the solvers that start from what moves gave on earlier problems.
        shared: The pool of each solver; None where each problem has its own budget.

    Raises:
        ConfigError: If a pool holds less than one call for each problem.
    """

    def __init__(
        self,
        wanted: Sequence[Key],
        results: Results,
        learning: Collection[str] = (),
        shared: Shared | None = None,
    ) -> None:
        self._results = results
        self._learning = frozenset(learning)
        self._shared = shared
        self._waiting = dict.fromkeys(wanted)
        self._places: dict[Key, int] = {}
        self._chains: dict[tuple[str, int], _Chain] = {}
        for key in wanted:
            chain = self._chains.setdefault(key[1:], _Chain(key[1]))
            self._places[key] = len(chain.keys)
            chain.keys.append(key)
        for chain in self._chains.values():
            chain.begin(shared)
        # In the order in which they were made, so that a pool is shared out as it was.
        for row in results.history:
            if row.key in self._places:
                self._waiting.pop(row.key, None)
                self.made(row)

    @property
    def waiting(self) -> int:
        """Rows that nobody has taken yet."""
        return len(self._waiting)

    def take(self) -> Lot | None:
        """The next row; None if none may start before another one has ended."""
        for key in self._waiting:
            chain, place = self._chains[key[1:]], self._places[key]
            learns = key[1] in self._learning
            if learns and place >= open_until(chain.unfinished):
                continue
            del self._waiting[key]
            known = self._known(key) if learns else Beliefs()
            return Lot(key=key, start=Start(known=known, caps=chain.caps[place]))
        return None

    def made(self, row: Row) -> None:
        """Notes a row that is finished."""
        chain, place = self._chains[row.key[1:]], self._places[row.key]
        chain.end(place, read_beliefs(row.beliefs))
        self._waiting |= dict.fromkeys(chain.share(place, row, self._shared))

    def missed(self, key: Key) -> None:
        """Notes a row that cannot be made now; nobody waits for it."""
        chain, place = self._chains[key[1:]], self._places[key]
        chain.end(place, None)
        self._waiting |= dict.fromkeys(chain.share(place, None, self._shared))

    def give_back(self, keys: Sequence[Key]) -> None:
        """Puts rows back, before all others."""
        self._waiting = dict.fromkeys(keys) | self._waiting

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

    def __init__(self, solver: str) -> None:
        self.solver = solver
        self.keys: list[Key] = []
        self.unfinished = 0
        self.caps: list[tuple[Budget, ...]] = []
        self._told: dict[int, Beliefs | None] = {}
        self._ended: dict[int, Ended] = {}
        self._round: set[int] = set()

    def begin(self, shared: Shared | None) -> None:
        """Gives each problem its first budget."""
        own = (first_share(shared.pool, len(self.keys), shared.each),) if shared else ()
        self.caps = [own] * len(self.keys)
        self._round = {*range(len(self.keys))}

    def end(self, place: int, told: Beliefs | None) -> None:
        # What later rounds of a problem told counts for nobody: blocks have started without.
        if self._told.get(place) is None:
            self._told[place] = told
        while self.unfinished in self._told:
            self.unfinished += 1

    def told_before(self, place: int) -> Beliefs:
        found = (self._told[number] for number in range(place))
        return reduce(Beliefs.plus, (told for told in found if told), Beliefs())

    def share(self, place: int, row: Row | None, shared: Shared | None) -> list[Key]:
        """Notes what a row used of the pool; returns the rows of the next round if it ended its own."""
        if shared is None or (row and row.caps != self.caps[place]):
            return []
        self._ended[place] = _ended(row, self.caps[place][-1], shared, self.solver)
        self._round.discard(place)
        if self._round:
            return []
        more = next_shares(shared.pool, self._ended)
        for number, budget in more.items():
            self.caps[number] = (*self.caps[number], budget)
        self._round = {*more}
        return [self.keys[number] for number in more]


def _ended(row: Row | None, caps: Budget, shared: Shared, solver: str) -> Ended:
    if row is None:  # It may be tried again, so nobody else gets its share.
        held: Mapping[str, float] = {name: getattr(caps, name) for name in caps_on_calls(shared.pool)}
        return Ended(used=Amount(**held), caps=caps)  # type: ignore[arg-type]
    lifted = row.stopped_by in shared.lifted[solver] & {*caps_on_calls(shared.pool), "rollouts"}
    unsolved = row.public.total > 0 and not row.public.all_passed
    return Ended(used=Amount.of(row.used), caps=caps, open=unsolved and lifted)
