"""
Single mutants of a file under sql/: one small change each, which some test should notice.

Only what runs is changed: the body of a function, the query of a view, the defaults of
arguments. Some mutants are no SQL any more; whoever installs them finds out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_BODY = re.compile(
    r"^(as \$\$|begin atomic|return\b|create view \w+ as)(?P<body>.*?)(?=^comment on|\Z)",
    re.MULTILINE | re.DOTALL,
)
_DEFAULT = re.compile(r"\bdefault (?P<value>true|false|\d+|null|'[^']*')")
_TOKEN = re.compile(
    r"""
    (?P<skip>--[^\n]*|\s+)
    |(?P<string>'(?:[^']|'')*')
    |(?P<name>"[^"]*")
    |(?P<number>\d+(?:\.\d+)?(?:e\d+)?)
    |(?P<parameter>\$\w+)
    |(?P<word>[a-z_][a-z_0-9]*)
    |(?P<sign>:=|=>|<>|<=|>=|::|\.\.|\|\||->>?|@>|<@|\$\$|.)
    """,
    re.VERBOSE | re.DOTALL,
)
# what one word or sign becomes
_SWAPS: dict[str, tuple[str, ...]] = {
    "=": ("<>",),
    "<>": ("=",),
    "<": ("<=",),
    "<=": ("<",),
    ">": (">=",),
    ">=": (">",),
    "+": ("-",),
    "-": ("+",),
    "and": ("or",),
    "or": ("and",),
    "true": ("false",),
    "false": ("true",),
    "least": ("greatest",),
    "greatest": ("least",),
    "min": ("max",),
    "max": ("min",),
    "bool_or": ("bool_and",),
    "bool_and": ("bool_or",),
    "any": ("all",),
    "all": ("any",),
    "exists": ("not exists",),
    "desc": ("",),
    "distinct": ("",),
    "left": ("",),
    "'todo'": ("'doing'",),
    "'doing'": ("'todo'",),
    "'succeeded'": ("'failed'",),
    "'failed'": ("'succeeded'",),
    "'cancelled'": ("'aborted'",),
    "'aborted'": ("'cancelled'",),
    "'r'": ("'d'",),
    "'a'": ("'r'",),
    "'d'": ("'r'",),
    "'b'": ("'r'",),
}
_ENDS_CONDITION = frozenset(
    {
        "and",
        "or",
        "where",
        "group",
        "order",
        "limit",
        "offset",
        "having",
        "for",
        "returning",
        "union",
        "except",
        "window",
        "then",
        "loop",
        "into",
        "when",
        "else",
        "end",
        "join",
        "left",
        "cross",
        "set",
        "do",
        ";",
    }
)
_ENDS_CLAUSE = frozenset(
    {"limit", "offset", "for", "returning", "union", "loop", "into", "rows", "then", ";"}
)
_OPENS_STATEMENT = frozenset({";", "then", "else", "loop", "begin"})
_STATEMENTS = frozenset(
    {
        "perform",
        "insert",
        "update",
        "delete",
        "select",
        "with",
        "raise",
        "return",
        "exit",
        "continue",
    }
)
_SPAN = re.compile(r"'(?P<count>\d+)(?= (?:milli)?(?:second|minute|hour|day))")


@attrs.frozen
class Mutant:
    """One change: what stands from start to end becomes `new`."""

    start: int
    end: int
    new: str
    kind: str

    def applied(self, text: str) -> str:
        return text[: self.start] + self.new + text[self.end :]

    def described(self, text: str) -> str:
        old, new = (" ".join(part.split()) for part in (text[self.start : self.end], self.new))
        return f"{self.kind}: {old} -> {new or 'nothing'}"


@attrs.frozen
class _Token:
    kind: str
    text: str
    start: int
    end: int
    depth: int


def mutants(text: str) -> list[Mutant]:
    """All mutants of a file, in the order of its lines."""
    found = list(_of_defaults(text))
    for body in _BODY.finditer(text):
        tokens = list(_tokens(text, body.start("body"), body.end("body")))
        for i in range(len(tokens)):
            found += _of_token(tokens, i)
            found += _of_clause(tokens, i)
            found += _of_statement(tokens, i)
    return sorted(set(found), key=lambda mutant: (mutant.start, mutant.end, mutant.new))


def _tokens(text: str, start: int, end: int) -> Iterator[_Token]:
    depth = 0
    between = False
    for match in _TOKEN.finditer(text, start, end):
        kind, found = match.lastgroup or "", match.group()
        if kind == "skip":
            continue
        if between and found == "and":  # joins no conditions
            between, found = False, "between and"
        between = between or found == "between"
        depth -= found in ")]"
        yield _Token(kind, found, match.start(), match.end(), depth)
        depth += found in "(["


def _of_defaults(text: str) -> Iterator[Mutant]:
    head = text.split("\nas $$", maxsplit=1)[0]
    for match in _DEFAULT.finditer(head):
        value = match["value"]
        others = {"true": "false", "false": "true", "null": ""}
        new = others.get(value, str(int(value) + 1) if value.isdigit() else "'{}'")
        if new and new != value:
            yield Mutant(match.start("value"), match.end("value"), new, "default")


def _of_token(tokens: Sequence[_Token], i: int) -> Iterator[Mutant]:
    token = tokens[i]
    before, after = (tokens[n].text if 0 <= n < len(tokens) else "" for n in (i - 1, i + 1))
    if token.text == "is":
        yield from _of_is(tokens, i)
    elif token.text == "not" and before != "is" and after not in {"materialized", "null"}:
        yield Mutant(token.start, token.end, "", "not")
    elif token.kind == "number" and token.text.isdigit() and before != "+":
        yield Mutant(token.start, token.end, str(int(token.text) + 1), "number")
    elif token.kind == "string" and token.text.startswith("'PQ"):
        yield Mutant(token.start, token.end, "'PQ999'", "code")
    elif span := _SPAN.match(token.text):
        end = token.start + span.end()
        yield Mutant(token.start, end, f"'{int(span['count']) * 2 + 1}", "span")
    elif token.text == "coalesce":
        yield from _of_coalesce(tokens, i)
    elif not _is_syntax(token.text, before, after):
        for new in _SWAPS.get(token.text, ()):
            yield Mutant(token.start, token.end, new, "swap" if new else "dropped")


def _is_syntax(text: str, before: str, after: str) -> bool:
    """Whether a word or sign that stands there means something else than its swap is for."""
    return (
        (text == "distinct" and (before in {"is", "not"} or after == "on"))
        or (text == "exists" and before == "not")  # dropping the not says the same
        or (text in {"any", "all", "least", "min", "max"} and after != "(")
        or (text in "+-" and after == "0")
        or (text == "left" and after == "(")
    )


def _of_is(tokens: Sequence[_Token], i: int) -> Iterator[Mutant]:
    if tokens[i + 1].text == "not":
        yield Mutant(tokens[i + 1].start, tokens[i + 1].end, "", "is")
    else:
        yield Mutant(tokens[i].end, tokens[i].end, " not", "is")


def _of_coalesce(tokens: Sequence[_Token], i: int) -> Iterator[Mutant]:
    """Only the first, and only the last of what it chooses from."""
    depth = tokens[i].depth
    last = _find(tokens, i + 2, depth, frozenset(")"))
    commas = [
        n for n in range(i + 2, last) if tokens[n].text == "," and tokens[n].depth == depth + 1
    ]
    if commas:
        yield Mutant(tokens[commas[0]].start, tokens[last].start, "", "coalesce")
        yield Mutant(tokens[i + 2].start, tokens[commas[-1]].end, "", "coalesce")


def _of_clause(tokens: Sequence[_Token], i: int) -> Iterator[Mutant]:
    token = tokens[i]
    if token.text in {"where", "having", "on", "if", "elsif", "when", "while"}:
        end = _find(tokens, i + 1, token.depth, _ENDS_CONDITION)
        if end > i + 1 and tokens[end - 1].end > tokens[i + 1].start:
            yield Mutant(tokens[i + 1].start, tokens[end - 1].end, "true", "condition")
    elif token.text in {"and", "or"}:
        end = _find(tokens, i + 1, token.depth, _ENDS_CONDITION)
        yield Mutant(token.start, tokens[end - 1].end, "", "condition")
    elif token.text in {"order", "limit"}:
        end = _find(tokens, i + 1, token.depth, _ENDS_CLAUSE)
        yield Mutant(token.start, tokens[end - 1].end, "", "clause")
    elif token.text == "for" and tokens[i + 1].text in {"no", "update", "key", "share"}:
        end = i + 1
        while tokens[end].kind == "word":
            end += 1
        yield Mutant(token.start, tokens[end - 1].end, "", "row lock")
        if tokens[end - 1].text == "locked":
            yield Mutant(tokens[end - 2].start, tokens[end - 1].end, "", "row lock")


def _of_statement(tokens: Sequence[_Token], i: int) -> Iterator[Mutant]:
    token = tokens[i]
    if token.depth or (i and tokens[i - 1].text not in _OPENS_STATEMENT):
        return
    assigns = i + 1 < len(tokens) and tokens[i + 1].text in {":=", "["}
    if token.text in _STATEMENTS or assigns:
        end = _find(tokens, i + 1, 0, frozenset(";"))
        if end < len(tokens):
            yield Mutant(token.start, tokens[end].start, "null", "statement")


def _find(tokens: Sequence[_Token], start: int, depth: int, ends: frozenset[str]) -> int:
    """The first token from there on that ends what stands at this depth."""
    for n in range(start, len(tokens)):
        if tokens[n].depth < depth or (tokens[n].depth == depth and tokens[n].text in ends):
            return n
    return len(tokens)
