"""How commands are made that are about more than one account's points: other programs, rewards, members and merges.

And orders that name what has paid them.
"""

from tests.faults.commands import new_command
from tests.faults.fault_programs import COINS, MUG, VALUED
from tests.faults.makers import give_back, money_of, new_order
from tests.faults.stream import POSTED, Maker


def conversion(maker: Maker) -> None:
    """Of a customer who has points, or not enough of them; now and then back again as a whole."""
    customer_id = maker.customer(VALUED)
    asked = new_command(maker, "convert", customer_id=customer_id, points=maker.random.randint(10, 60))
    asked["data"]["to_program_id"] = COINS
    maker.add(asked, POSTED)
    if maker.random.random() < 0.3:
        maker.add(new_command(maker, "reverse", command_id=asked["id"]), POSTED)


def reward(maker: Maker) -> None:
    """One that is redeemed, or deleted, or both: whichever comes first, and it may come before it is issued."""
    name = maker.new_id("issue")
    more = {"expires_in_seconds": 60 * 86_400} if maker.random.random() < 0.5 else {}
    maker.add(new_command(maker, "reward.issue", reward_id=MUG, issue_id=name, **more), POSTED)
    for verb in maker.random.sample(["reward.redeem", "reward.delete"], maker.random.randint(0, 2)):
        maker.add(new_command(maker, verb, issue_id=name), POSTED)


def shared_account(maker: Maker) -> None:
    """Members come to it and leave it, and ask for something; what is asked by others, or too early, is refused."""
    name, member = maker.new_id("account"), maker.new_id("member")
    made = new_command(maker, "account.create", account_id=name, customer_id=maker.new_id("owner"), points=40)
    maker.add(made, POSTED)
    roles = maker.random.sample(["member", "viewer"], 2)
    for role in (*roles[: maker.random.randint(1, 2)], None):
        members = [] if role is None else [{"customer_id": member, "role": role}]
        if members or maker.random.random() < 0.3:
            maker.add(new_command(maker, "account.update", account_id=name, members=members), POSTED)
        asked = new_command(maker, "redeem", account_id=name, points=maker.random.randint(1, 20))
        asked["data"]["acting_customer_id"] = member
        maker.add(asked, POSTED)
    for verb in ("account.link", "account.unlink"):
        maker.add(new_command(maker, verb, account_id=name, card=f"{name}-card"), POSTED)
    maker.add(new_command(maker, "account.update", account_id=name, tags=["shared"]), POSTED)


def merged_account(maker: Maker) -> None:
    """Orders, refunds and credits of both meet the merge, and now and then its undoing, in any order."""
    gone, stays = maker.new_id("gone"), maker.new_id("stays")
    order = new_order(maker, VALUED, customer_id=gone)
    merge = new_command(maker, "account.merge", customer_id=gone, into_customer_id=stays)
    steps = [
        lambda: maker.add(new_command(maker, "credit", customer_id=gone, points=30), POSTED),
        lambda: maker.add(new_command(maker, "credit", customer_id=stays, points=20), POSTED),
        lambda: maker.add(order, POSTED),
        lambda: give_back(maker, order, **money_of(maker, order, maker.random.randint(1, 9))),
        lambda: maker.add(merge, POSTED),
    ]
    if maker.random.random() < 0.5:
        undone = new_command(maker, "account.unmerge", customer_id=gone)
        steps.append(lambda: maker.add(undone, POSTED))
    maker.random.shuffle(steps)
    for step in steps:
        step()
    maker.stream.model.together(VALUED, (gone, stays))


def paid_order(maker: Maker) -> None:
    """By a redemption, or by an authorization that is captured, before or after the order comes and is given back."""
    asked = new_command(maker, "redeem", points=maker.random.randint(1, 30))
    named = {"points_command_id": asked["id"], "points_command_source": asked["source"]}
    taking = [asked]
    if maker.random.random() < 0.5:
        name = maker.new_id("hold")
        asked = new_command(maker, "authorize", authorization_id=name, points=30, expires_in_seconds=60 * 86_400)
        taking = [asked, new_command(maker, "capture", authorization_id=name, points=maker.random.randint(1, 30))]
        named = {"points_authorization_id": name}
    order = new_order(maker, VALUED, points_paid="1.00", **named)
    # Nothing else is told of it: to cancel it would let come back what is authorized and not captured yet.
    steps = [lambda: maker.add(order, POSTED)]
    steps += [lambda each=each: maker.add(each, POSTED) for each in taking]
    if maker.random.random() < 0.8:
        steps.append(lambda: give_back(maker, order, **money_of(maker, order, maker.random.randint(1, 9))))
    maker.random.shuffle(steps)
    for step in steps:
        step()
