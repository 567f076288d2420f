"""Small databases of every content and shape, each made from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

# For each type an expression over the row's number ``i``.
VALUES: Mapping[str, str] = {
    "smallint": "(i * 37 % 65536 - 32768)::int2",
    "integer": "CASE i % 3 WHEN 0 THEN -2147483648 WHEN 1 THEN 2147483647 ELSE i END",
    "bigint": "(i::numeric * 7919 * 7919 * 7919 % 9223372036854775807)::int8 * (i % 2 * 2 - 1)",
    "numeric": "CASE i % 5 WHEN 0 THEN 'NaN' WHEN 1 THEN 'Infinity' ELSE i * 1.0000000000001 END",
    "numeric(12,4)": "i / 7.0",
    "real": "CASE i % 5 WHEN 0 THEN 'NaN' WHEN 1 THEN '-0' WHEN 2 THEN 1e-30 ELSE sqrt(i) END",
    "double precision": "CASE i % 4 WHEN 0 THEN '-Infinity' WHEN 1 THEN '-0' ELSE exp(i / 9.0) END",
    "boolean": "CASE i % 3 WHEN 0 THEN NULL ELSE i % 3 = 1 END",
    "text": r"(ARRAY[NULL, '', E'a\tb', E'line\nline', E'\\.', 'ü日本', '\N', repeat('x', i)])"
    "[i % 8 + 1]",
    "varchar(30)": "left(md5(i::text), i % 30)",
    "char(7)": "left('abcdefg', i % 7)",
    '"char"': "chr(33 + i % 90)",
    "name": "'name ' || i",
    "bytea": r"CASE i % 3 WHEN 0 THEN '' WHEN 1 THEN '\x00ff00' "
    "ELSE decode(md5(i::text), 'hex') END",
    "date": "CASE i % 4 WHEN 0 THEN 'infinity' WHEN 1 THEN '0044-03-15 BC' "
    "ELSE date '2024-02-29' + i END",
    "timestamp": "timestamp '1999-12-31 23:59:59.999999' + i * interval '1 hour 1 microsecond'",
    "timestamptz": "CASE i % 5 WHEN 0 THEN '-infinity' ELSE "
    "timestamptz '2026-03-29 00:30:00+00' + i * interval '17 minutes' END",
    "time": "time '23:59:59.999' - i * interval '1 s'",
    "timetz": "timetz '12:00:00+05:30' + i * interval '1 s'",
    "interval": "i * interval '1 year -2 months 3 days 04:05:06.789'",
    "uuid": "md5(i::text)::uuid",
    "json": """('{"b": ' || i || ',  "a": [1, null]}')::json""",
    "jsonb": "jsonb_build_object('n', i, 'u', 'ü\u2028', 'deep', jsonb_build_array(NULL, i / 3.0))",
    "inet": "('10.0.' || i % 256 || '.1/' || 8 + i % 24)::inet",
    "cidr": "('192.168.' || i % 256 || '.0/24')::cidr",
    "macaddr8": "('08:00:2b:01:02:03:04:' || lpad(to_hex(i % 256), 2, '0'))::macaddr8",
    "point": "point(i / 3.0, -i)",
    "polygon": "polygon(box(point(0, 0), point(i, 1)))",
    "circle": "circle(point(i, i), i)",
    "bit(8)": "(i % 256)::bit(8)",
    "varbit": "((i % 8)::bit(3))::varbit",
    "integer[]": "CASE i % 3 WHEN 0 THEN '{}' WHEN 1 THEN '[0:1][3:4]={{1,2},{3,NULL}}' "
    "ELSE ARRAY[i, NULL] END",
    "text[]": "ARRAY['a,b', NULL, '\"', 'NULL', i::text]",
    "tsvector": "to_tsvector('simple', 'one two ' || i)",
    "tsquery": "to_tsquery('simple', 'one & !two')",
    "int4range": "CASE i % 3 WHEN 0 THEN 'empty' WHEN 1 THEN int4range(i, NULL) "
    "ELSE int4range(1, i + 2) END",
    "tstzrange": "tstzrange(timestamptz '2026-01-01Z', timestamptz '2026-01-01Z' + i * "
    "interval '1 day', '[]')",
    "nummultirange": "nummultirange(numrange(0, i), numrange(i + 1, i + 2))",
    "pg_lsn": "('0/' || to_hex(i + 1))::pg_lsn",
    "money": "(i * 1.25)::numeric::money",
    "mood": "(ARRAY['sad', 'it''s ok', 'happy', NULL])[i % 4 + 1]::mood",
    "pair": "ROW(i, 'a \"quoted\", text')::pair",
    "pair[]": "ARRAY[ROW(i, NULL)::pair, NULL]",
    "positive": "i + 1",
    "mail": "'u' || i || '@example.org'",
}

_TYPES = (
    "CREATE TYPE mood AS ENUM ('sad', 'it''s ok', 'happy')",
    'CREATE TYPE pair AS (one integer, "the other" text)',
    "CREATE DOMAIN positive AS integer CHECK (VALUE > 0)",
    "CREATE DOMAIN mail AS text COLLATE \"C\" CHECK (VALUE ~ '@')",
)
_SETTINGS = (
    "TimeZone = 'Asia/Kathmandu'",
    "DateStyle = 'SQL, DMY'",
    "IntervalStyle = 'sql_standard'",
    "extra_float_digits = 0",
    "bytea_output = 'escape'",
    "statement_timeout = '20s'",
    "default_transaction_isolation = 'serializable'",
    "row_security = off",
    'search_path = "$user", public, pg_catalog',
    "quote_all_identifiers = on",
    "jit = on",
    "lock_timeout = '2s'",
)
_NAMES = ("users", "Großer Name", 'we"ird; name', "select", "a table", "日本", "x" * 63)


def create_database_options(seed: str, *, icu: bool) -> str:
    """Return the options behind ``CREATE DATABASE name`` for a seed's database."""
    chance = random.Random(f"{seed}/options")
    kinds = ["", "ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'", "ENCODING 'SQL_ASCII' LOCALE 'C'"]
    if icu:
        kinds.append("ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'de-DE' LOCALE 'C'")
    return f"TEMPLATE template0 {chance.choice(kinds)}"


def statements(seed: str, database: str) -> list[str]:
    """Return what fills the new, empty database of that name, one statement each."""
    chance = random.Random(seed)
    made = list(_TYPES)
    made += _plain_tables(chance)
    for feature in FEATURES:
        if chance.random() < 0.5:
            made += feature(chance)
    for setting in chance.sample(_SETTINGS, chance.randrange(3)):
        made.append(f'ALTER DATABASE "{database}" SET {setting}')
    return made


def _plain_tables(chance: random.Random) -> list[str]:
    made = []
    for name in chance.sample(_NAMES, chance.randint(1, 4)):
        quoted = '"' + name.replace('"', '""') + '"'
        types = chance.sample(sorted(VALUES), chance.randint(1, 9))
        columns = [f'"c{n}" {kind}' for n, kind in enumerate(types)]
        key = chance.choice(["", "PRIMARY KEY"])
        made.append(f"CREATE TABLE {quoted} (id integer {key}, {', '.join(columns)})")
        values = ", ".join(f"({VALUES[kind]})::{kind}" for kind in types)
        rows = chance.choice([0, 1, 3, 40, 300])
        made.append(f"INSERT INTO {quoted} SELECT i, {values} FROM generate_series(1, {rows}) AS i")
        if chance.random() < 0.3:
            made.append(f"DELETE FROM {quoted} WHERE id % 3 = 1")
        if chance.random() < 0.3:
            made.append(f'ALTER TABLE {quoted} DROP COLUMN "c0"')
        if not key and rows and chance.random() < 0.5:
            made.append(f"INSERT INTO {quoted} SELECT * FROM {quoted}")  # rows twice
        if chance.random() < 0.3:
            made.append(f"COMMENT ON TABLE {quoted} IS E'it''s\\n; a comment'")
    return made


def _identity(chance: random.Random) -> list[str]:
    kind, step = chance.choice(["ALWAYS", "BY DEFAULT"]), chance.choice([1, 7, -3])
    start = -5 if step < 0 else 5
    return [
        f"CREATE TABLE counted (id bigint GENERATED {kind} AS IDENTITY (START {start}"
        f" INCREMENT {step}) PRIMARY KEY, what text)",
        "INSERT INTO counted (what) SELECT 'w' || i"
        f" FROM generate_series(1, {chance.randint(0, 50)}) AS i",
    ]


def _sequences(chance: random.Random) -> list[str]:
    return [
        "CREATE SEQUENCE fresh",
        "CREATE SEQUENCE down INCREMENT -1",
        f"SELECT nextval('down') FROM generate_series(1, {chance.randint(1, 9)})",
        "CREATE SEQUENCE round_and_round MAXVALUE 5 CYCLE",
        f"SELECT nextval('round_and_round') FROM generate_series(1, {chance.randint(1, 12)})",
        "CREATE SEQUENCE used_up MAXVALUE 3",
        "SELECT setval('used_up', 3)",
        "CREATE SEQUENCE cached CACHE 20",
        "SELECT nextval('cached')",
    ]


def _partitions(chance: random.Random) -> list[str]:
    rows = chance.choice([0, 5, 500])
    return [
        "CREATE TABLE measures (at date NOT NULL, kind mood, n integer) PARTITION BY RANGE (at)",
        "CREATE TABLE measures_old PARTITION OF measures FOR VALUES FROM (MINVALUE) TO"
        " ('2026-01-01')",
        "CREATE TABLE measures_new PARTITION OF measures FOR VALUES FROM ('2026-01-01') TO"
        " (MAXVALUE) PARTITION BY HASH (kind)",
        *(
            f"CREATE TABLE measures_new_{n} PARTITION OF measures_new FOR VALUES WITH"
            f" (MODULUS 3, REMAINDER {n})"
            for n in range(3)
        ),
        "CREATE TABLE by_list (what text, n integer) PARTITION BY LIST (what)",
        "CREATE TABLE by_list_a PARTITION OF by_list FOR VALUES IN ('a', NULL)",
        "CREATE TABLE by_list_rest PARTITION OF by_list DEFAULT",
        f"INSERT INTO measures SELECT date '2025-10-01' + i % 200, {VALUES['mood']}, i"
        f" FROM generate_series(1, {rows}) AS i",
        f"INSERT INTO by_list SELECT (ARRAY['a', 'b', NULL])[i % 3 + 1], i"
        f" FROM generate_series(1, {rows}) AS i",
        "CREATE INDEX ON measures (n)",
    ]


def _unlogged(_chance: random.Random) -> list[str]:
    return [
        "CREATE UNLOGGED TABLE fleeting AS SELECT i FROM generate_series(1, 20) AS i",
        "CREATE UNLOGGED TABLE fleeting_and_empty (i integer)",
    ]


def _views(chance: random.Random) -> list[str]:
    filled = chance.choice(["WITH DATA", "WITH NO DATA"])
    return [
        "CREATE TABLE seen AS SELECT i AS id, i % 5 AS kind FROM generate_series(1, 60) AS i",
        "CREATE VIEW kinds AS SELECT kind, count(*) AS n FROM seen GROUP BY kind",
        "CREATE MATERIALIZED VIEW stored AS SELECT * FROM kinds",
        f"CREATE MATERIALIZED VIEW upon_stored AS SELECT sum(n) AS n FROM stored {filled}",
        "CREATE UNIQUE INDEX ON stored (kind)",
        "INSERT INTO seen VALUES (1000, 7)",  # the stored view is behind by now
        "CREATE MATERIALIZED VIEW dated AS SELECT now() AS at, random() AS r",
    ]


def _inheritance(_chance: random.Random) -> list[str]:
    return [
        "CREATE TABLE cities (name text, people integer)",
        "CREATE TABLE capitals (country text) INHERITS (cities)",
        "INSERT INTO cities SELECT 'c' || i, i FROM generate_series(1, 9) AS i",
        "INSERT INTO capitals SELECT 'k' || i, i, 'land' FROM generate_series(1, 4) AS i",
        "CREATE TABLE nothing_at_all ()",
        "INSERT INTO nothing_at_all DEFAULT VALUES",
    ]


def _keys(_chance: random.Random) -> list[str]:
    return [
        "CREATE TABLE hens (id integer PRIMARY KEY, egg integer)",
        "CREATE TABLE eggs (id integer PRIMARY KEY, hen integer REFERENCES hens"
        " DEFERRABLE INITIALLY DEFERRED)",
        "ALTER TABLE hens ADD FOREIGN KEY (egg) REFERENCES eggs ON DELETE SET NULL"
        " DEFERRABLE INITIALLY DEFERRED",
        "WITH h AS (INSERT INTO hens SELECT i, i FROM generate_series(1, 30) AS i RETURNING id)"
        " INSERT INTO eggs SELECT id, 31 - id FROM h",
        "CREATE TABLE tree (id integer PRIMARY KEY, parent integer REFERENCES tree)",
        "INSERT INTO tree SELECT i, nullif(i / 2, 0) FROM generate_series(1, 40) AS i",
        "ALTER TABLE tree ADD CONSTRAINT small CHECK (id < 20) NOT VALID",
    ]


def _generated(_chance: random.Random) -> list[str]:
    return [
        "CREATE FUNCTION public.twice(integer) RETURNS integer LANGUAGE sql IMMUTABLE"
        " AS 'SELECT $1 * 2'",
        "CREATE TABLE computed (a integer, b integer GENERATED ALWAYS AS (public.twice(a)) STORED,"
        " EXCLUDE USING gist (int4range(a, a, '[]') WITH &&))",
        "INSERT INTO computed (a) SELECT i FROM generate_series(1, 50) AS i",
        "CREATE INDEX ON computed (public.twice(b)) WHERE a > 3",
        "CREATE STATISTICS of_computed ON a, b FROM computed",
    ]


def _guarded(_chance: random.Random) -> list[str]:
    return [
        "CREATE TABLE guarded (id integer, owner name)",
        "INSERT INTO guarded SELECT i, 'nobody' FROM generate_series(1, 10) AS i",
        "ALTER TABLE guarded ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE guarded FORCE ROW LEVEL SECURITY",
        "CREATE POLICY own ON guarded USING (owner = current_user)",
        "CREATE FUNCTION public.stop() RETURNS trigger LANGUAGE plpgsql"
        " AS 'BEGIN RAISE EXCEPTION ''no more''; END'",
        "CREATE TRIGGER stop BEFORE INSERT ON guarded FOR EACH ROW EXECUTE FUNCTION public.stop()",
        "CREATE RULE silent AS ON DELETE TO guarded DO INSTEAD NOTHING",
        "GRANT SELECT (id) ON guarded TO PUBLIC",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    ]


def _large_objects(chance: random.Random) -> list[str]:
    return [
        f"SELECT lo_from_bytea(0, decode(repeat(md5({n}::text), {chance.choice([1, 200])}), 'hex'))"
        for n in range(chance.randint(1, 3))
    ] + ["SELECT lo_create(0)"]


def _extensions(_chance: random.Random) -> list[str]:
    return [
        "CREATE EXTENSION hstore",
        "CREATE EXTENSION citext",
        "CREATE TABLE with_extensions (h hstore, c citext PRIMARY KEY)",
        "INSERT INTO with_extensions SELECT hstore('k', i::text), 'Key' || i"
        " FROM generate_series(1, 20) AS i",
    ]


FEATURES: tuple[Callable[[random.Random], list[str]], ...] = (
    _identity,
    _sequences,
    _partitions,
    _unlogged,
    _views,
    _inheritance,
    _keys,
    _generated,
    _guarded,
    _large_objects,
    _extensions,
)
