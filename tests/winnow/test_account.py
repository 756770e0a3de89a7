import json

from hypothesis import given
from hypothesis import strategies as st

from winnow.account import NOTES, Account


def test_one_line_says_what_was_read_kept_and_left_out_with_the_first_of_each():
    account = Account(read=1000)
    account.leave_out("no url", "a.csv, line 7")
    account.leave_out("no url", "a.csv, line 9")
    account.leave_out("duplicates", "uid 00", 0)
    account.leave_out("too few fields", "b.csv, line 3")
    account.note("column 'exif' is carried as 'source_exif'")
    account.note("column 'exif' is carried as 'source_exif'")
    assert account.lines() == [
        "rows read 1,000, kept 997 · no url 2 (first: a.csv, line 7) · too few fields 1 (first: b.csv, line 3)",
        "column 'exif' is carried as 'source_exif'",
    ]


def test_notes_beyond_a_limit_are_counted():
    account = Account()
    for number in range(NOTES + 3):
        account.note(f"column {number}")
    assert account.lines()[-1] == "and 3 more of the kind"


EVENTS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5)), max_size=8)


@given(EVENTS, EVENTS)
def test_accounts_add_up_and_survive_the_journal(first, second):
    whole, parts = Account(), [Account(), Account()]
    for part, events in zip(parts, (first, second), strict=True):
        for reason, count in events:
            for account in (whole, part):
                account.read += count + 1
                account.leave_out(reason, f"{reason}{count}", count)
                account.note(reason)
    parts[0].add(Account.of(json.loads(json.dumps(parts[1].data()))))
    assert parts[0] == whole
    assert whole.kept == len(first) + len(second)
