"""The groups of emoji (Unicode's emoji-test.txt), which neither the pictures' nor the names' package carries.

Source: Unicode emoji-test.txt, groups; shellfish are with the animals here, as a picture shows them.
"""

import bisect

__all__ = ["GROUPS", "group_of"]

GROUPS = (
    "smileys and emotion",
    "people and body",
    "animals and nature",
    "food and drink",
    "travel and places",
    "activities",
    "objects",
    "symbols",
    "flags",
)
"""Class names of the zero-shot task, in label order; the words occur in captions too."""

_RANGES = {
    "smileys and emotion": """2620 2639-263A 2763-2764 1F479-1F47B 1F47D-1F480 1F48B-1F48C 1F493-1F49F 1F4A2
        1F4A4-1F4A6 1F4A8-1F4A9 1F4AB-1F4AD 1F4AF 1F573 1F5A4 1F5E8 1F5EF 1F600-1F644 1F648-1F64A 1F90D-1F90E
        1F910-1F917 1F920-1F925 1F927-1F92F 1F970-1F976 1F978-1F97A 1F9D0 1F9E1 1FA75-1FA77 1FAE0-1FAE5
        1FAE7-1FAEF""",
    "people and body": """261D 26F7 26F9 270A-270D 1F385 1F3C2-1F3C4 1F3C7 1F3CA-1F3CC 1F440-1F450 1F463-1F478
        1F47C 1F481-1F483 1F485-1F487 1F48F 1F491 1F4AA 1F574-1F575 1F57A 1F590 1F595-1F596 1F5E3 1F645-1F647
        1F64B-1F64F 1F6A3 1F6B4-1F6B6 1F6C0 1F6CC 1F90C 1F90F 1F918-1F91F 1F926 1F930-1F939 1F93C-1F93E 1F977
        1F9B4-1F9B9 1F9BB 1F9BE-1F9BF 1F9CD-1F9CF 1F9D1-1F9E0 1FAC0-1FAC8 1FAE6 1FAF0-1FAF8""",
    "animals and nature": """2618 1F331-1F335 1F337-1F33C 1F33E-1F344 1F3F5 1F400-1F43F 1F490 1F4AE 1F54A
        1F577-1F578 1F940 1F980-1F9AE 1FAB0-1FAB4 1FAB6-1FABF 1FACD-1FACF""",
    "food and drink": """2615 1F32D-1F330 1F336 1F33D 1F345-1F37F 1F382 1F3FA 1F52A 1F942-1F944 1F950-1F96F
        1F9C0-1F9CB 1FAD0-1FADC""",
    "travel and places": """231A-231B 23F0-23F3 2600-2604 2614 2668 2693 26A1 26C4-26C5 26C8 26E9-26EA 26F0-26F2
        26F4-26F5 26FA 26FD 2708 2744 2B50 1F300-1F321 1F324-1F32C 1F3A0-1F3A2 1F3AA 1F3CD-1F3CE 1F3D4-1F3E6
        1F3E8-1F3ED 1F3EF-1F3F0 1F488 1F492 1F4A7 1F4BA 1F525 1F54B-1F54D 1F550-1F567 1F570 1F5FA-1F5FE
        1F680-1F6A2 1F6A4-1F6A8 1F6B2 1F6CE 1F6D1 1F6D5-1F6DF 1F6E2-1F6FC 1F9ED 1F9F1 1F9F3 1FA90 1FAA8 1FAB5""",
    "activities": """265F-2666 26BD-26BE 26F3 26F8 2728 1F004 1F0CF 1F380-1F381 1F383-1F384 1F386-1F38B
        1F38D-1F391 1F396-1F397 1F39F 1F3A3 1F3A8 1F3AB 1F3AD-1F3B4 1F3BD-1F3BF 1F3C0 1F3C5-1F3C6 1F3C8-1F3C9
        1F3CF-1F3D3 1F3F8 1F52B 1F52E 1F579 1F5BC 1F93F 1F945-1F949 1F94A-1F94F 1F9E7-1F9E9 1F9F5-1F9F6 1F9F8
        1FA80-1FA81 1FA84-1FA86 1FAA1-1FAA2 1FAA9""",
    "symbols": """23-39 A9-AE 203C-21FF 23CF 23E9-23EF 23F8-23FA 24C2 25AA-25FE 2611 2622-262F 2638 2640-2653 267B
        267E-267F 2695 269B-26A0 26A7-26AB 26CE 26D4 2705 2714-2721 2733-2734 2747-2757 2795-27BF 2934-2B1C 2B55
        3030-3299 1F170-1F1AD 1F201-1F251 1F3A6 1F3E7 1F4A0 1F4B1-1F4B2 1F4DB 1F4F3-1F4F6 1F500-1F506 1F518-1F524
        1F52F-1F53D 1F549 1F54E 1F6AB 1F6AD-1F6B1 1F6B3 1F6B7-1F6BC 1F6BE 1F6C2-1F6C5 1F6D0 1F6DC 1F7E0-1F7F0
        1FAAF""",
    "flags": "1F1E6-1F1FF 1F38C 1F3C1 1F3F3-1F3F4 1F6A9",
}
"""First code points of each group, by range; whatever is in none of them is an object."""


def _table() -> list[tuple[int, int, str]]:
    """Return (first, last, group) sorted by code point; narrow flag ranges win over the ranges around them."""
    rows = []
    for group, ranges in _RANGES.items():
        for text in ranges.split():
            first, _, last = text.partition("-")
            rows.append((int(first, 16), int(last or first, 16), group))
    return sorted(rows)


_TABLE = _table()


def group_of(code_points: list[int]) -> str:
    """Return the group of an emoji by its first code point."""
    first = code_points[0]
    place = bisect.bisect_right(_TABLE, first, key=lambda row: row[0]) - 1
    if place >= 0 and _TABLE[place][0] <= first <= _TABLE[place][1]:
        return _TABLE[place][2]
    return "objects"
