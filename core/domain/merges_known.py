"""What books hold of merges: which there were, and what they moved."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from core.domain.decision import Decision
from core.domain.ledger import Account
from core.domain.merges import LotMove, MergeRole, PostedMerge
from core.domain.reach import OrderKey
from core.domain.takes import Take

_COMING = frozenset({MergeRole.SURVIVOR, MergeRole.RESTORED})


class MergesKnown:
    """The merges of accounts, as far as they were loaded or decided."""

    def __init__(self) -> None:
        """None is here yet."""
        self._merges: defaultdict[UUID, list[PostedMerge]] = defaultdict(list)
        self._lot_moves: defaultdict[tuple[UUID, int], list[LotMove]] = defaultdict(list)
        self.rewarded: set[UUID] = set()  #: accounts whose customers have had rewards, which count for each customer

    def put(self, merges: Iterable[PostedMerge], moves: Iterable[LotMove]) -> None:
        """Take in merges, the oldest of each account first, and the lots that these moved."""
        for merge in merges:
            self._merges[merge.account_id].append(merge)
        for move in moves:
            self._lot_moves[move.account_id, move.sequence].append(move)

    def last_of(self, account: Account) -> PostedMerge:
        """The last merge of an account that is merged into another."""
        return self._merges[account.account_id][-1]

    def lot_moves(self, merge: PostedMerge) -> Sequence[LotMove]:
        """The lots that a merge moved, as its account has them."""
        return self._lot_moves[merge.account_id, merge.sequence]

    @staticmethod
    def takes_moved(
        decision: Decision, takes: Mapping[tuple[UUID, OrderKey], Sequence[Take]]
    ) -> dict[tuple[UUID, OrderKey], list[Take]]:
        """What clawbacks took from lots that a merge moves, as it can come back to these lots where they are now."""
        numbers = {
            (move.other_account_id, move.other_lot_number): (move.account_id, move.lot_number)
            for change in decision.changes
            if change.merge is not None and change.merge.role in _COMING
            for move in change.lot_moves
        }
        found: dict[tuple[UUID, OrderKey], list[Take]] = {}
        if not numbers:  # nearly always: this runs for each decision, and a batch may know many takes
            return found
        keys = {posted.key: posted.account_id for posted in decision.orders}
        for (account_id, key), of_order in takes.items():
            owner = keys.get(key)
            if owner is None:
                continue
            for take in of_order:
                moved_to, number = numbers.get((account_id, take.lot_number), (None, 0))
                if moved_to == owner:
                    found.setdefault((owner, key), []).append(Take(number, take.points))
        return found
