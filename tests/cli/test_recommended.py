"""What the demo counts of recommendations."""

from reflexarc_cli.demo.recommended import Recommended, Sequences
from reflexarc_core.decision import Decision, Reason


def decision(item: str, instance: str = "", subject: str = "known:1", reason: Reason = Reason.FIRED) -> Decision:
    return Decision(
        f"{subject}{item}{instance}", 0, "recommend", subject, "e", reason, 0, "", "edge", True, instance, payload={"item": item}
    )


def test_an_item_that_comes_twice_in_one_sequence_is_found_and_one_in_the_next_is_not() -> None:
    sequences = Sequences()
    for one in (
        decision("a"), decision("b", "step:1"), decision("x", subject="known:2"), decision("a", "step:2"),
        decision("b", "step:3", reason=Reason.CAP),
        decision("a"), decision("b", "step:1"),
    ):  # fmt: skip
        sequences.take(one)
    found = sequences.found
    assert (found.shown, found.steps, found.repeats, found.items) == (6, 3, 1, {"a", "b", "x"})
    both = Recommended.together([found.to_json(), Recommended(1, 0, 0, {"z"}).to_json()])
    assert (both.shown, both.repeats, both.items) == (7, 1, {"a", "b", "x", "z"})
