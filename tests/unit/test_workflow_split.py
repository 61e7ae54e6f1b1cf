"""The split of labelled frames: what was once held out is never learned from."""

from __future__ import annotations

import pytest

from densnet_core.errors import InputError
from densnet_core.stores.splits import holding_out, merged_split, split_frames

FRAMES = [f"{i:02d}" for i in range(40)]


def counts(train: int, validation: int, test: int) -> dict[str, int]:
    return {"train": train, "validation": validation, "test": test}


def test_parts_are_disjoint_of_the_wanted_size_and_repeatable() -> None:
    split = split_frames(FRAMES, counts(20, 5, 10), 3, None)
    assert [len(split[part]) for part in ("train", "validation", "test")] == [20, 5, 10]
    assert len({*split["train"], *split["validation"], *split["test"]}) == 35
    assert split_frames(FRAMES, counts(20, 5, 10), 3, None) == split
    assert split_frames(FRAMES, counts(20, 5, 10), 3, split) == split


def test_held_out_frames_stay_held_out_over_many_splits() -> None:
    held_out: set[str] = set()
    split = None
    # a smaller test part must not free frames for the split after it
    for seed, wanted in enumerate([counts(20, 5, 12), counts(20, 5, 4), counts(22, 5, 4), counts(10, 5, 14)]):
        split = split_frames(FRAMES, wanted, seed, split)
        assert not held_out & {*split["train"], *split["validation"]}
        held_out |= set(split["test"])
        assert set(split["held_out"]) == held_out


def test_new_frames_join_and_old_test_frames_are_tested_first() -> None:
    before = split_frames(FRAMES[:20], counts(10, 2, 6), 0, None)
    after = split_frames(FRAMES, counts(20, 4, 8), 0, before)
    assert set(before["test"]) < set(after["test"])


def test_frames_of_another_molecule_do_not_release_those_held_out() -> None:
    before = split_frames(FRAMES[:20], counts(10, 2, 6), 0, None)
    other = split_frames(FRAMES[20:], counts(10, 2, 6), 0, before)
    back = split_frames(FRAMES[:20], counts(10, 2, 6), 5, other)
    assert set(back["test"]) == set(before["test"])


def test_too_few_frames_say_how_many_there_are() -> None:
    with pytest.raises(InputError, match="41 frames, but only 40 are labelled"):
        split_frames(FRAMES, counts(30, 5, 6), 0, None)
    before = split_frames(FRAMES, counts(10, 5, 20), 0, None)
    with pytest.raises(InputError, match="20 of them are held out"):
        split_frames(FRAMES, counts(30, 5, 5), 0, before)


def test_the_order_of_the_frames_does_not_matter_and_new_ones_leave_the_drawn_order_as_it_is() -> None:
    split = split_frames(FRAMES, counts(20, 5, 10), 3, None)
    assert split_frames(FRAMES[::-1], counts(20, 5, 10), 3, None) == split
    before = split_frames(FRAMES[:30], counts(5, 5, 20), 3, None)
    after = split_frames(FRAMES, counts(5, 5, 30), 3, None)
    common = [content for content in after["test"] if content in before["test"]]
    assert common == [content for content in before["test"] if content in common]


def test_a_frame_held_out_in_any_store_is_held_out_after_a_merge() -> None:
    first = split_frames(FRAMES[:25], counts(10, 5, 10), 1, None)
    second = split_frames(FRAMES[15:], counts(10, 5, 10), 2, None)
    merged = merged_split([first, second], FRAMES)
    assert merged is not None
    tested = {*first["test"], *second["test"]}
    assert set(merged["test"]) == set(merged["held_out"]) == tested
    assert not tested & {*merged["train"], *merged["validation"]}
    assert not set(merged["train"]) & set(merged["validation"])
    assert {*merged["train"], *merged["validation"]} == {
        content for split in (first, second) for part in ("train", "validation") for content in split[part]
    } - tested
    again = split_frames(FRAMES, counts(15, 2, 12), 9, merged)
    assert not tested & {*again["train"], *again["validation"]}
    assert merged_split([], FRAMES) is None


def test_a_split_that_is_kept_gives_up_what_is_held_out_elsewhere() -> None:
    split = split_frames(FRAMES[:30], counts(15, 5, 10), 1, None)
    elsewhere = [split["train"][0], split["validation"][0], FRAMES[35], "gone"]
    after = holding_out(split, elsewhere, FRAMES)
    assert after["train"] == split["train"][1:]
    assert after["validation"] == split["validation"][1:]
    assert after["test"] == [*split["test"], *elsewhere[:3]]
    assert set(after["held_out"]) == {*split["test"], *elsewhere}
    assert holding_out(split, split["test"], FRAMES) == split
