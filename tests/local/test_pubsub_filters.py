"""The filter language: a table of filters, the messages they let through, and the ones that are no filters."""

import pytest

from local.pubsub.errors import InvalidArgument
from local.pubsub.filters import parse_filter

MESSAGES = {
    "en-com": {"lang": "en", "name": "com"},
    "en-net": {"lang": "en", "name": "net"},
    "jp-co": {"lang": "jp", "name": "co"},
    "jp": {"lang": "jp"},
    "bare": {},
    "odd": {"iana.org/language_tag": "en", 'quo"te': "x", "with-hyphen": "-", "みんな": "all"},
}


@pytest.mark.parametrize(
    ("text", "matching"),
    [
        ("", set(MESSAGES)),
        ("  ", set(MESSAGES)),
        ('attributes.name = "com"', {"en-com"}),
        ('attributes.name="com"', {"en-com"}),
        ('attributes.name != "com"', {"en-net", "jp-co", "jp", "bare", "odd"}),
        ('attributes.name = ""', set()),
        ("attributes:name", {"en-com", "en-net", "jp-co"}),
        ("NOT attributes:name", {"jp", "bare", "odd"}),
        ("-attributes:name", {"jp", "bare", "odd"}),
        ("NOT NOT attributes:name", {"en-com", "en-net", "jp-co"}),
        ('hasPrefix(attributes.name, "co")', {"en-com", "jp-co"}),
        ('hasPrefix ( attributes.name , "" )', {"en-com", "en-net", "jp-co"}),
        ('attributes.lang = "en" AND attributes.name = "net"', {"en-net"}),
        ('attributes.lang = "en" AND -attributes.name = "net"', {"en-com"}),
        (
            'attributes.lang = "jp" OR attributes.name = "net" OR attributes.name = "com"',
            {"en-com", "en-net", "jp-co", "jp"},
        ),
        ('attributes.lang = "jp" AND (attributes:name OR attributes:x)', {"jp-co"}),
        ('NOT (attributes:name OR attributes.lang = "jp")', {"bare", "odd"}),
        ("NOT attributes:name AND attributes:lang", {"jp"}),
        ('attributes:"iana.org/language_tag"', {"odd"}),
        ('attributes."iana.org/language_tag" = "en"', {"odd"}),
        (r'attributes:"quo\"te"', {"odd"}),
        ("attributes:with-hyphen", {"odd"}),
        ('attributes.with-hyphen = "-"', {"odd"}),
        ("attributes:みんな", {"odd"}),
        (r'attributes:"\u307F\u3093\u306A"', {"odd"}),
        ('attributes.name = "COM"', set()),
    ],
)
def test_a_filter_matches_exactly_these_messages(text: str, matching: set[str]):
    matches = parse_filter(text)
    assert {name for name, attributes in MESSAGES.items() if matches(attributes)} == matching


@pytest.mark.parametrize(
    "text",
    [
        "name",
        "attributes",
        "attributes.name",
        "attributes.name =",
        "attributes.name = com",
        "attributes.name = 'com'",
        'attributes.name == "com"',
        'attributes.name > "com"',
        'attributes.name = "com',
        'data = "x"',
        'attributes:"a" attributes:"b"',
        "attributes:a AND",
        "AND attributes:a",
        "attributes:a and attributes:b",
        "attributes:a AND attributes:b OR attributes:c",
        "(attributes:a",
        "attributes:a)",
        "attributes:AND",
        "attributes:iana.org/x",
        "hasPrefix(attributes.name)",
        'hasPrefix(attributes:name, "c")',
        'hasSuffix(attributes.name, "c")',
        r'attributes.name = "\q"',
        'attributes.name = "' + "x" * 256 + '"',
    ],
)
def test_anything_else_is_refused(text: str):
    with pytest.raises(InvalidArgument):
        parse_filter(text)


def test_the_limit_of_256_counts_bytes():
    fits = 'attributes.k = "' + "ü" * 119 + 'x"'
    assert len(fits.encode()) == 256
    parse_filter(fits)
    with pytest.raises(InvalidArgument):
        parse_filter(fits.replace("x", "xx"))
