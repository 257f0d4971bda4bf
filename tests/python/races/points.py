"""
Stop a statement in its middle: between any two statements of the functions that it runs.

Interleavings of whole statements can't show a race within one, such as a fetch that parks a
job while the holder of its lock commits. Here each PL/pgSQL function of the schema is
rewritten, in the test's own database, so that it calls `races_point()` before each of its
statements. A session that asked to stop at its nth point waits there for an advisory lock,
until the test lets it go. `explore` stops one statement at each of its points in turn and
runs the others meanwhile.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs

from tests.python.races import harness

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

GATE_CLASS = (
    7_700_001  # advisory locks of two integers: they never meet the queue's own bigint keys
)

_INSTALL = f"""
create function races_point(p_name text) returns boolean language plpgsql volatile as $body$
declare
    v_stop text := current_setting('races.stop', true);
    v_count integer;
begin
    if v_stop is null or v_stop = '' then
        return true;
    end if;
    v_count := coalesce(nullif(current_setting('races.count', true), ''), '0')::integer + 1;
    perform set_config('races.count', v_count::text, false);
    if v_count = v_stop::integer then
        perform set_config('races.at', p_name, false);
        perform pg_advisory_lock_shared({GATE_CLASS}, current_setting('races.gate')::integer);
        perform pg_advisory_unlock_shared({GATE_CLASS}, current_setting('races.gate')::integer);
    end if;
    return true;
end
$body$
"""

_TOKEN = re.compile(
    r"""
    (?P<skip>--[^\n]*|/\*.*?\*/|\s+)
    |(?P<string>'(?:[^']|'')*')
    |(?P<dollar>(?P<tag>\$\w*\$).*?(?P=tag))
    |(?P<quoted>"[^"]*")
    |(?P<word>[A-Za-z_][A-Za-z_0-9$]*)
    |(?P<label><<\s*\w+\s*>>)
    |(?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_OPENS_BODY = {
    "then",
    "else",
    "loop",
    "begin",
}  # a statement may follow, if it is PL/pgSQL's word
_CONTROL = {
    "if",
    "elsif",
    "elseif",
    "case",
    "when",
    "exception",
    "for",
    "foreach",
    "while",
    "loop",
}
_NO_STATEMENT = {"end", "elsif", "elseif", "else", "when", "exception"}


@attrs.frozen
class _Token:
    kind: str
    text: str
    start: int


def _tokens(source: str) -> Iterator[_Token]:
    for match in _TOKEN.finditer(source):
        kind = match.lastgroup or "other"
        if kind == "tag":
            kind = "dollar"
        if kind != "skip":
            yield _Token(kind, match.group().lower(), match.start())


def statement_starts(source: str) -> list[int]:
    """
    Where the statements of a PL/pgSQL body begin.

    Follows parentheses and the words that end, open or close a block; `case … end` inside an
    expression and the `then` of a MERGE are no block.
    """
    starts: list[int] = []
    depth = 0
    cases = 0  # open CASE expressions
    fresh = False  # the next word begins a statement
    labelled = False  # the statement's label has the point
    head = ""  # the first word of the statement under way
    declaring = False
    for token in _tokens(source):
        if fresh:
            fresh = False
            if token.text == "declare":
                declaring = True
                head = "declare"
                continue
            head = token.text
            if token.text not in _NO_STATEMENT and token.text != ";" and not labelled:
                starts.append(token.start)
            labelled = False
            if token.text in {"else", "loop", "begin"}:
                fresh, declaring = True, False
                continue
            if token.kind == "label":
                labelled = fresh = True
                continue
            if token.text in {"end", "case"}:
                continue
        if token.text == "declare" and not head:
            declaring = True
            head = "declare"
        elif token.text in "([":
            depth += 1
        elif token.text in ")]":
            depth -= 1
        elif depth:
            continue
        elif token.kind == "word" and token.text == "case" and head != "end":
            cases += 1
        elif token.kind == "word" and token.text == "end" and cases:
            cases -= 1
        elif cases:
            continue
        elif declaring or not head:
            if token.text == "begin":
                declaring, fresh, head = False, True, "begin"
        elif (token.kind == "word" and token.text in _OPENS_BODY and head in _CONTROL) or (
            token.text == ";"
        ):
            fresh = True
    return starts


def instrument(connection: psycopg.Connection[harness.Row]) -> int:
    """
    Put a point before each statement of each PL/pgSQL function of the queue; how many.

    A point is an ASSERT: unlike PERFORM it leaves FOUND and ROW_COUNT as the statement before
    it has set them.
    """
    connection.execute(harness.query(_INSTALL))
    rows = connection.execute(
        """
        select p.oid::regprocedure::text as name, p.proname, p.prosrc, p.prokind,
            pg_get_functiondef(p.oid) as definition
        from pg_proc as p
        where p.pronamespace = current_schema()::regnamespace and p.provolatile = 'v'
            and p.prolang = (select l.oid from pg_language as l where l.lanname = 'plpgsql')
            and p.proname ~ '^_?procrastinate_'
        """
    ).fetchall()
    count = 0
    for row in rows:
        source: str = row["prosrc"]
        starts = statement_starts(source)
        parts: list[str] = []
        last = 0
        for place in starts:
            line = source.count("\n", 0, place) + 1
            parts += [source[last:place], f"assert races_point('{row['proname']}:{line}'); "]
            last = place
        parts.append(source[last:])
        definition: str = row["definition"]
        assert definition.count(source) == 1, row["name"]
        connection.execute(harness.query(definition.replace(source, "".join(parts))))
        count += len(starts)
    return count


@attrs.define
class Gate:
    """Where one session stops. The test holds it shut, and opens it."""

    stage: harness.Stage
    session: harness.Session
    number: int
    shut: bool = False

    def stop_at(self, point: int) -> None:
        """Stop the session's next statement at its nth point, counted from 1."""
        self.session.run(
            "select set_config('races.stop', %s, false), set_config('races.count', '0', false),"
            " set_config('races.at', '', false), set_config('races.gate', %s, false)",
            [str(point), str(self.number)],
        )
        self.stage.look("select pg_advisory_lock(%s, %s)", [GATE_CLASS, self.number])
        self.shut = True

    def open(self) -> None:
        if self.shut:
            self.stage.look("select pg_advisory_unlock(%s, %s)", [GATE_CLASS, self.number])
            self.shut = False

    @property
    def reached(self) -> bool:
        """The session stands at this gate now."""
        rows = self.stage.look(
            """
            select from pg_locks as l
            where l.pid = %s and not l.granted and l.locktype = 'advisory' and l.objsubid = 2
                and l.classid = %s and l.objid = %s
            """,
            [self.session.pid, GATE_CLASS, self.number],
        )
        return bool(rows)

    def close(self) -> str:
        """No more stops; where it stopped last."""
        self.open()
        place = self.session.value("select current_setting('races.at', true)")
        self.session.run("select set_config('races.stop', '', false)")
        return str(place)
