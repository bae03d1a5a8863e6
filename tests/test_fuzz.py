"""Texts, launches, files and command lines at random: refused with a sentence or done, never more.

A short part runs with the suite; ``ATTNPROTO_FUZZ_EXAMPLES=100000`` tries each kind that often, for
an hour or more, from seeds that it prints.
"""

import pytest
from support import fuzzing


def test_what_a_case_does_to_its_process_is_found_and_said():
    child = fuzzing.Child("odd_cases:attempt", limit_s=3)
    outcomes = {seed: child.attempt(seed) for seed in (0, 1, 0, 2, 3, 4, 5, 6)}
    child.end()
    assert (outcomes[0], outcomes[4]) == ("", "")  # nothing, and a refusal as it should be
    assert outcomes[1].startswith("died of SIGABRT")
    assert outcomes[2] == "not ended after 3 s"
    assert "KeyError: 'odd'" in outcomes[3]
    assert "an error that does not say where: found 5" in outcomes[5]
    assert "InternalError" in outcomes[6]


def test_a_find_is_named_by_the_seed_that_repeats_it(monkeypatch):
    monkeypatch.delenv("ATTNPROTO_FUZZ_EXAMPLES", raising=False)
    monkeypatch.setenv("ATTNPROTO_FUZZ_SEED", "3")
    with pytest.raises(AssertionError, match=r"seed 3: (?s:.)*KeyError"):
        fuzzing.assert_no_finds("odd_cases:attempt", limit_s=3, few=1)


def test_no_text_ends_the_process_or_hangs_it():
    fuzzing.assert_no_finds("text_cases:attempt", limit_s=60, few=16)


def test_no_launch_ends_the_process_or_hangs_it():
    fuzzing.assert_no_finds("launch_cases:attempt", limit_s=60, few=20)


def test_no_file_and_no_command_line_gets_a_traceback():
    fuzzing.assert_no_finds("file_cases:attempt", limit_s=60, few=28)
