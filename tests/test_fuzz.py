"""Texts, launches, files and command lines at random: refused with a sentence or done, never more.

A short part runs with the suite; ``ATTNPROTO_FUZZ_EXAMPLES=100000`` tries each kind that often, for
an hour or more, from seeds that it prints.
"""

from support import fuzzing


def test_no_text_ends_the_process_or_hangs_it():
    fuzzing.assert_no_finds("text_cases:attempt", limit_s=60, few=16)


def test_no_launch_ends_the_process_or_hangs_it():
    fuzzing.assert_no_finds("launch_cases:attempt", limit_s=60, few=20)


def test_no_file_and_no_command_line_gets_a_traceback():
    fuzzing.assert_no_finds("file_cases:attempt", limit_s=60, few=28)
