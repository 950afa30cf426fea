"""A continuous batch in virtual time, worked by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.engines.replay.gpu_model import BatchSpeed, ContinuousBatch, Sequence

SPEED = BatchSpeed(step_s=1.0, sequence_s=0.25, prompt_token_s=0.125)
"""All binary fractions, so that sums are exact."""


def play(batch: ContinuousBatch, arrivals: list[tuple[float, int, int]], *, jumps: bool) -> list[Sequence]:
    """Run all arrivals to their end: from change to change, or in one jump after the last arrival."""
    sequences = []
    for at_s, prompt, completion in arrivals:
        while jumps and (change_s := batch.next_change_s()) is not None and change_s < at_s:
            batch.advance(change_s)
        batch.advance(at_s)
        sequences.append(batch.add(at_s, prompt, completion))
    while jumps and (change_s := batch.next_change_s()) is not None:
        batch.advance(change_s)
    batch.advance(1e6)
    return sequences


@pytest.mark.parametrize("jumps", [True, False])
@pytest.mark.parametrize(
    ("slots", "arrivals", "expected"),
    [
        # Alone: prefill of 4 tokens 0.5 with the first step's 1.25, then two steps of 1.25.
        (4, [(0, 4, 3)], [(1.75, 4.25)]),
        # At least one token.
        (4, [(0, 0, 0)], [(1.25, 1.25)]),
        # Both from the start would need the same time of arrival: the second comes while the first step is under way,
        # so that step is one sequence's. Then two run: 1.5 a step, with the second's prefill of 0.25 first.
        (4, [(0, 0, 3), (0.5, 2, 2)], [(1.25, 1.25 + 1.75 + 1.5), (1.25 + 1.75, 1.25 + 1.75 + 1.5)]),
        # One slot: the second waits for the first's last step.
        (1, [(0, 0, 2), (0, 0, 2)], [(1.25, 2.5), (3.75, 5.0)]),
        # Idle in between.
        (4, [(0, 0, 1), (10, 0, 2)], [(1.25, 1.25), (11.25, 12.5)]),
        # Two slots, four requests: the last joins when the third is done, beside the second's last two steps.
        (
            2,
            [(0, 0, 1), (0, 0, 3), (0, 0, 1), (0, 0, 9)],
            [(1.25, 1.25), (2.75, 5.75), (2.75, 2.75), (4.25, 5.75 + 7 * 1.25)],
        ),
    ],
)
def test_times_worked_by_hand(
    slots: int, arrivals: list[tuple[float, int, int]], expected: list[tuple[float, float]], jumps: bool
) -> None:
    sequences = play(ContinuousBatch(SPEED, slots), arrivals, jumps=jumps)
    assert [(s.first_token_s, s.finished_s) for s in sequences] == expected


def test_tokens_come_at_the_ends_of_steps() -> None:
    batch = ContinuousBatch(SPEED, 4)
    sequence = batch.add(0, 0, 3)
    generated = {}
    for at_s in (0, 1.0, 1.25, 2.4, 2.5, 3.7):
        batch.advance(at_s)
        generated[at_s] = batch.generated(sequence)
    assert generated == {0: 0, 1.0: 0, 1.25: 1, 2.4: 1, 2.5: 2, 3.7: 2}
    assert batch.advance(3.75) == [sequence]
    assert (batch.generated(sequence), batch.running, batch.next_change_s()) == (3, 0, None)
    assert batch.busy_s == 3.75


def test_one_that_is_given_up_frees_its_slot_for_the_next_step() -> None:
    batch = ContinuousBatch(SPEED, 1)
    first, second, third = (batch.add(0, 0, 100) for _ in range(3))
    batch.remove(second)
    assert (batch.running, batch.waiting) == (1, 1)
    batch.advance(2.0)
    batch.remove(first)
    batch.remove(first)
    assert batch.next_change_s() == 2.5
    batch.advance(4.0)
    assert (batch.generated(first), batch.generated(second), batch.generated(third)) == (1, 0, 1)
    batch.remove(third)
    assert batch.advance(100) == []
    assert (batch.running, batch.waiting, batch.next_change_s()) == (0, 0, None)


@given(
    st.integers(1, 3),
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5), st.integers(1, 9)), min_size=1, max_size=12),
)
def test_how_the_clock_is_read_makes_no_difference(slots: int, requests: list[tuple[int, int, int]]) -> None:
    arrivals = sorted((at / 2, prompt, completion) for at, prompt, completion in requests)
    batches = ContinuousBatch(SPEED, slots), ContinuousBatch(SPEED, slots)
    jumping, straight = (
        play(batch, arrivals, jumps=jumps) for batch, jumps in zip(batches, (True, False), strict=True)
    )
    times = [[(s.first_token_s, s.finished_s) for s in sequences] for sequences in (jumping, straight)]
    assert times[0] == times[1]
    assert batches[0].busy_s == batches[1].busy_s
    for sequence in straight:
        assert sequence.finished_s is not None
        alone = SPEED.prompt_token_s * sequence.prompt_tokens + 1.25 * sequence.completion_tokens
        assert sequence.finished_s >= sequence.arrived_s + alone


def test_what_a_gpu_carries() -> None:
    # 4 tokens in steps of 1 + 4 x 0.25 = 2 with 4 slots are 2 seconds a request, and its prefill 8 x 0.125 = 1.
    assert SPEED.peak_rps(4, 8, 4) == 1 / 3
    # Alone 4 x 1.25 + 1 = 6 s; each request costs 2 s of the GPU besides, so at 1 in 4 seconds half of it is spare.
    assert SPEED.latency_s(0, 8, 4) == 6
    assert SPEED.latency_s(0.25, 8, 4) == 12
    assert SPEED.latency_s(0.5, 8, 4) == float("inf")
