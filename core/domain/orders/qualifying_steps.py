"""What an order counts for the tier at each instant: what refunds until then, by their own times, have left of it."""

from collections.abc import Sequence
from datetime import datetime

from core.domain.orders.earning import Earning
from core.domain.orders.facts import Refund
from core.domain.orders.posted import PostedOrder, Qualifying, QualifyingStep


def with_refunds(
    posted: PostedOrder, refunds: Sequence[Refund], added: Refund | None, earning: Earning, left: Qualifying
) -> PostedOrder:
    """Note what the order counts with these refunds, which leave `left`.

    `added` is the one that has come since its steps were noted; None: something else has changed.
    """
    if added is not None:
        at = refund_instant(posted, added)
        if all(refund_instant(posted, refund) < at for refund in refunds if refund is not added):
            steps = posted.qualifying_steps or (QualifyingStep(posted.order.occurred_at, posted.qualifying),)
            latest = _shortened([*steps, QualifyingStep(at, left)])
            return posted._replace(qualifying=left, qualifying_steps=latest)
    return posted._replace(qualifying=left, qualifying_steps=steps_of(posted, refunds, earning))


def steps_of(posted: PostedOrder, refunds: Sequence[Refund], earning: Earning) -> tuple[QualifyingStep, ...]:
    """What the order counts when, with all of these refunds; () where none of them changes that."""
    if not refunds:
        return ()
    instants = {refund_instant(posted, refund) for refund in refunds}
    steps = [QualifyingStep(posted.order.occurred_at, earning.after(()).qualifying)]
    for instant in sorted(instants):
        until_then = [refund for refund in refunds if refund_instant(posted, refund) <= instant]
        steps.append(QualifyingStep(instant, earning.after(until_then).qualifying))
    return _shortened(steps)


def refund_instant(posted: PostedOrder, refund: Refund) -> datetime:
    """From when on a refund counts: not before its order, whatever the clocks of shops say."""
    return max(refund.occurred_at, posted.order.occurred_at)


def _shortened(steps: Sequence[QualifyingStep]) -> tuple[QualifyingStep, ...]:
    """Without those that change nothing."""
    kept = [steps[0]]
    for step in steps[1:]:
        if step.qualifying != kept[-1].qualifying:
            kept.append(step)
    return tuple(kept) if len(kept) > 1 else ()
