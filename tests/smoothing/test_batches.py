"""How rows of examples are packed into batches."""

import pytest
import torch

from lightning_rs.smoothing.batches import Batcher
from lightning_rs.smoothing.plan import Plan, RowKind

X = torch.zeros(1)


def play(plan, examples, batch_size, finish=lambda job: True, delay=0):
    """All layouts, with the answers to examples that reach a look coming `delay` batches later."""
    batcher = Batcher(((i, X) for i in range(examples)), plan, batch_size)
    layouts, unanswered = [], []
    while True:
        layout = batcher.next()
        if layout is not None:
            layouts.append(layout)
            unanswered.append([(job, job.look) for job in layout.reached])
        elif not unanswered:
            return layouts
        while len(unanswered) > (delay if layout is not None else 0):
            for job, look in unanswered.pop(0):
                last = look + 1 == len(plan.looks)
                batcher.end(job) if last or finish(job) else batcher.go_on(job)


def rows_of(layouts):
    """Every row as (example, kind, draw), in the order in which they are classified."""
    return [
        (segment.job.index, segment.kind, segment.draw + k)
        for layout in layouts
        for segment in layout.segments
        for k in range(segment.count)
    ]


@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000])
@pytest.mark.parametrize("delay", [0, 1])
def test_every_draw_of_every_example_comes_once_and_in_order(batch_size, delay):
    plan = Plan((53,), n0=10, clean=True)
    rows = rows_of(play(plan, 9, batch_size, delay=delay))
    expected = [
        (example, kind, draw)
        for example in range(9)
        for kind, draws in ((RowKind.CLEAN, 1), (RowKind.SELECTION, 10), (RowKind.MAIN, 53))
        for draw in range(draws)
    ]
    assert rows == expected


@pytest.mark.parametrize("delay", [0, 1])
def test_batches_are_full_until_the_end(delay):
    layouts = play(Plan((53,), n0=10, clean=True), 9, 32, delay=delay)
    assert [layout.rows for layout in layouts] == [32] * (9 * 64 // 32)
    for layout in layouts:
        assert layout.segments[0].offset == 0
        for a, b in zip(layout.segments, layout.segments[1:], strict=False):
            assert b.offset == a.offset + a.count


@pytest.mark.parametrize("delay", [0, 1])
def test_examples_that_wait_leave_room_for_others(delay):
    """Odd examples stop at the first look, even ones go on; batches stay nearly full."""
    plan = Plan((25, 50, 100), n0=10)
    layouts = play(plan, 100, 200, finish=lambda job: job.index % 2 == 1, delay=delay)
    rows = rows_of(layouts)
    for example in range(100):
        main = [draw for i, kind, draw in rows if i == example and kind is RowKind.MAIN]
        assert main == list(range(25 if example % 2 else 100))
    assert len(layouts) <= len(rows) / 200 + 4


def test_places_are_used_again_but_never_by_two_at_once():
    plan = Plan((25, 50, 100), n0=10)
    taken = {}
    for layout in play(plan, 300, 100, finish=lambda job: job.index % 3, delay=1):
        for job in layout.begun:
            taken.setdefault(job.slot, []).append(job.index)
        for segment in layout.segments:
            assert taken[segment.job.slot][-1] == segment.job.index
    assert max(taken) < Batcher.slots_needed(plan, 100)
    assert sorted(i for indices in taken.values() for i in indices) == list(range(300))


def test_a_batch_without_an_example_for_the_moment_waits_for_answers_and_asks_again():
    batcher = Batcher(iter([(0, X), None, None, (1, X), None]), Plan((4,)), 10)
    first = batcher.next()
    assert first.rows == 4 and batcher.next() is None
    batcher.end(first.reached[0])
    second = batcher.next()
    assert second.rows == 4 and second.reached[0].position == 1
