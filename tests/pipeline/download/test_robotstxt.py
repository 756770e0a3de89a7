"""robots.txt against the examples of RFC 9309, and against the rule written naively."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.download.robotstxt import ALL, NONE, RobotsRules, parse_robots

RFC = b"""
User-Agent: *
Disallow: *.gif$
Disallow: /example/
Allow: /publications/

User-Agent: foobot
Disallow:/
Allow:/example/page.html
Allow:/example/allowed.gif

User-Agent: barbot
User-Agent: bazbot
Disallow: /example/page.html

User-Agent: quxbot

EOF
"""


@pytest.mark.parametrize(
    ("agent", "path", "allowed"),
    [
        ("foobot", "/example/page.html", True),
        ("foobot", "/example/allowed.gif", True),
        ("foobot", "/example/", False),
        ("FooBot", "/publications/", False),
        ("barbot", "/example/page.html", False),
        ("bazbot", "/example/page.html", False),
        ("barbot", "/example/other.gif", True),
        ("quxbot", "/example/", True),
        ("anybot", "/example/x", False),
        ("anybot", "/publications/", True),
        ("anybot", "/a.gif", False),
        ("anybot", "/a.gif?x", True),
        ("anybot", "/robots.txt", True),
    ],
)
def test_the_rfc_s_example(agent, path, allowed):
    assert parse_robots(RFC, agent).allows(f"http://host{path}") is allowed


@pytest.mark.parametrize(
    ("rules", "path", "allowed"),
    [
        ("Allow: /example/page/\nDisallow: /example/page/disallowed.gif", "/example/page/disallowed.gif", False),
        ("Disallow: /a\nAllow: /a", "/a", True),
        ("Disallow: /a\nAllow: /a/b", "/a/b/c", True),
        ("Allow: /a/b\nDisallow: /a", "/a/b/c", True),  # not the first rule, the longest
        ("Disallow: /foo/bar/ツ", "/foo/bar/%E3%83%84", False),
        ("Disallow: /foo/bar/%E3%83%84", "/foo/bar/ツ", False),
        ("Disallow: /foo/bar/%62%61%7A", "/foo/bar/baz", False),
        ("Disallow: /foo/bar?baz=http", "/foo/bar?baz=http://x", False),
        ("Disallow: /a%2fb", "/a/b", True),  # an escaped slash is another one
        ("Disallow: /a%2fb", "/a%2Fb", False),
        ("Disallow: ", "/a", True),
        ("Disallow: /*.php$", "/x.php", False),
        ("Disallow: /*.php$", "/x.php5", True),
        ("Disallow: /a # comment", "/a", False),
        ("disallow : /a", "/a", False),
        ("Crawl-delay: 5\nDisallow: /a", "/a", False),
    ],
)
def test_rules(rules, path, allowed):
    assert parse_robots(f"User-agent: *\n{rules}\n".encode(), "winnow").allows(f"http://h{path}") is allowed


def test_groups_of_one_agent_are_one_and_versions_do_not_matter():
    text = b"user-agent: winnow/2.0\ndisallow: /a\n\nuser-agent: x\ndisallow: /\n\nUSER-AGENT: Winnow\ndisallow: /b\n"
    rules = parse_robots(text, "winnow")
    assert [rules.allows(f"http://h{path}") for path in ("/a", "/b", "/c")] == [False, False, True]


def test_a_group_that_names_the_agent_without_rules_leaves_it_everything():
    assert parse_robots(b"user-agent: *\ndisallow: /\n\nuser-agent: winnow\n", "winnow").allows("http://h/a")


@pytest.mark.parametrize(
    "text", [b"", b"\xff\xfe\0", b"<html>", b"disallow: /", b"\xef\xbb\xbfuser-agent: x\ndisallow: /"]
)
def test_what_is_no_robots_txt_forbids_nothing(text):
    assert parse_robots(text, "winnow").allows("http://h/a")


def test_a_byte_order_mark_is_passed_over():
    assert not parse_robots(b"\xef\xbb\xbfuser-agent: *\ndisallow: /", "winnow").allows("http://h/a")


def test_the_ends():
    assert ALL.allows("http://h/a")
    assert not NONE.allows("http://h/a")


@given(st.text("ab*", max_size=8), st.booleans(), st.text("ab", max_size=8))
def test_patterns_are_those_of_a_regular_expression(pattern, anchored, path):
    pattern = f"/{pattern}" + ("$" if anchored else "")
    naive = re.compile(
        "".join(".*" if c == "*" else c for c in pattern.removesuffix("$")) + (r"\Z" if anchored else "")
    )
    assert RobotsRules(((pattern, False),)).allows(f"http://h/{path}") is (naive.match(f"/{path}") is None)


def test_many_stars_take_no_time():
    rules = RobotsRules((("/" + "a*" * 200 + "b$", False),))
    assert rules.allows("http://h/" + "a" * 5000)
