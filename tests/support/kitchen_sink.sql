-- One database with as many kinds of things as a plain PostgreSQL 14 to 18 build can hold.
-- Run by a superuser in an empty database, as one script (no psql commands, no COPY data).
-- Roles are cluster-wide and may exist already; everything else is made here.

DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['kitchen_owner', 'kitchen reader', 'küche'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role_name) THEN
            EXECUTE format('CREATE ROLE %I', role_name);
        END IF;
    END LOOP;
END
$$;

CREATE SCHEMA app AUTHORIZATION kitchen_owner;
CREATE SCHEMA "Odd Schema";
CREATE SCHEMA empty_one;
COMMENT ON SCHEMA app IS 'the application''s own; with a ; in it';
GRANT USAGE ON SCHEMA app TO "kitchen reader";
GRANT USAGE ON SCHEMA "Odd Schema" TO küche;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE kitchen_owner IN SCHEMA app GRANT SELECT ON TABLES TO "kitchen reader";
ALTER DEFAULT PRIVILEGES FOR ROLE kitchen_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

CREATE EXTENSION IF NOT EXISTS hstore SCHEMA public;
CREATE EXTENSION IF NOT EXISTS citext SCHEMA public;
CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public;
CREATE EXTENSION IF NOT EXISTS postgres_fdw SCHEMA public;

-- Types
CREATE TYPE app.mood AS ENUM ('sad', 'it''s ok', 'happy');
ALTER TYPE app.mood ADD VALUE 'very happy' AFTER 'happy';
CREATE TYPE app.pair AS (left_part integer, right_part text);
COMMENT ON COLUMN app.pair.left_part IS 'of a composite type';
CREATE DOMAIN app.email AS text COLLATE "C" CHECK (VALUE ~ '^[^@]+@[^@]+$');
CREATE DOMAIN app.positive AS integer NOT NULL DEFAULT 1;
ALTER DOMAIN app.positive ADD CONSTRAINT positive_is_positive CHECK (VALUE > 0) NOT VALID;
CREATE TYPE app.float_span AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE TYPE app.raw_number;
CREATE FUNCTION app.raw_number_in(cstring) RETURNS app.raw_number
    LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
CREATE FUNCTION app.raw_number_out(app.raw_number) RETURNS cstring
    LANGUAGE internal IMMUTABLE STRICT AS 'int4out';
CREATE TYPE app.raw_number (
    INPUT = app.raw_number_in, OUTPUT = app.raw_number_out,
    INTERNALLENGTH = 4, PASSEDBYVALUE, ALIGNMENT = int4
);
CREATE COLLATION app.bytewise (LOCALE = 'C');
CREATE CONVERSION app.latin_mapping FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;

-- Functions and what is built on them
CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    -- a backslash \! and a quote ' in a body are nobody's business
    NEW.touched := coalesce(NEW.touched, '2026-11-22 02:00:00+00');
    RETURN NEW;
END
$body$;
ALTER FUNCTION app.touch() OWNER TO kitchen_owner;
CREATE FUNCTION app.double_it(value integer) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS 'SELECT value * 2';
CREATE FUNCTION app.standard_body(value integer) RETURNS integer LANGUAGE sql IMMUTABLE
    RETURN value + 1;
CREATE PROCEDURE app.nothing(INOUT times integer) LANGUAGE plpgsql AS 'BEGIN times := 0; END';
CREATE AGGREGATE app.total(integer) (SFUNC = int4pl, STYPE = integer, INITCOND = '0');
CREATE FUNCTION app.pair_less(app.pair, app.pair) RETURNS boolean LANGUAGE sql IMMUTABLE
    AS 'SELECT ($1).left_part < ($2).left_part';
CREATE OPERATOR app.<<< (LEFTARG = app.pair, RIGHTARG = app.pair, FUNCTION = app.pair_less);
CREATE FUNCTION app.compare_backwards(integer, integer) RETURNS integer LANGUAGE sql IMMUTABLE
    AS 'SELECT btint4cmp($2, $1)';
CREATE OPERATOR FAMILY app.backwards_family USING btree;
CREATE OPERATOR CLASS app.backwards FOR TYPE integer USING btree FAMILY app.backwards_family AS
    OPERATOR 1 >, OPERATOR 2 >=, OPERATOR 3 =, OPERATOR 4 <=, OPERATOR 5 <,
    FUNCTION 1 app.compare_backwards(integer, integer);
CREATE FUNCTION app.pair_to_text(app.pair) RETURNS text LANGUAGE sql IMMUTABLE
    AS 'SELECT ($1).right_part';
CREATE CAST (app.pair AS text) WITH FUNCTION app.pair_to_text(app.pair);
CREATE ACCESS METHOD heap_again TYPE TABLE HANDLER heap_tableam_handler;
CREATE FUNCTION app.own_handler() RETURNS language_handler
    LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler';
CREATE LANGUAGE own_language HANDLER app.own_handler;
CREATE TRANSFORM FOR integer LANGUAGE own_language (
    FROM SQL WITH FUNCTION pg_catalog.prsd_lextype(internal)
);
CREATE TEXT SEARCH DICTIONARY app.simple_words (TEMPLATE = pg_catalog.simple);
CREATE TEXT SEARCH CONFIGURATION app.words (COPY = pg_catalog.simple);
ALTER TEXT SEARCH CONFIGURATION app.words ALTER MAPPING FOR word WITH app.simple_words;
CREATE TEXT SEARCH PARSER app.own_parser (
    START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype
);
CREATE TEXT SEARCH TEMPLATE app.own_template (INIT = dsimple_init, LEXIZE = dsimple_lexize);

-- Tables
CREATE TABLE app.users (
    id bigint GENERATED ALWAYS AS IDENTITY (START WITH 100 INCREMENT BY 5) PRIMARY KEY,
    email app.email NOT NULL,
    nickname public.citext UNIQUE,
    mood app.mood DEFAULT 'it''s ok',
    settings jsonb NOT NULL DEFAULT '{}',
    extra public.hstore,
    status varchar(20) CHECK (status IN ('new', 'paid')),
    length integer GENERATED ALWAYS AS (length(email)) STORED,
    touched timestamptz,
    picture bytea,
    CONSTRAINT email_is_unique UNIQUE (email) DEFERRABLE INITIALLY DEFERRED
);
ALTER TABLE app.users OWNER TO kitchen_owner;
ALTER TABLE app.users ALTER COLUMN picture SET STORAGE EXTERNAL;
ALTER TABLE app.users ALTER COLUMN email SET STATISTICS 500;
COMMENT ON TABLE app.users IS E'people\nin two lines';
COMMENT ON COLUMN app.users.email IS '"quoted"';
CREATE TRIGGER touch_users BEFORE INSERT OR UPDATE ON app.users
    FOR EACH ROW EXECUTE FUNCTION app.touch();
ALTER TABLE app.users DISABLE TRIGGER touch_users;
GRANT SELECT (id, email), UPDATE (mood) ON app.users TO "kitchen reader";
GRANT SELECT ON app.users TO küche WITH GRANT OPTION;

CREATE TABLE app.videos (
    id serial PRIMARY KEY,
    user_id bigint NOT NULL,
    title text NOT NULL,
    size app.positive,
    during app.float_span,
    tags text[],
    CONSTRAINT videos_user FOREIGN KEY (user_id) REFERENCES app.users (id) ON DELETE CASCADE,
    CONSTRAINT no_overlap EXCLUDE USING gist (during WITH &&) WHERE (during IS NOT NULL)
);
ALTER TABLE app.videos ADD CONSTRAINT title_is_short CHECK (length(title) < 1000) NOT VALID;
COMMENT ON CONSTRAINT videos_user ON app.videos IS 'who made it';
CREATE INDEX videos_title ON app.videos USING gin (title public.gin_trgm_ops);
CREATE UNIQUE INDEX videos_partial ON app.videos (user_id, lower(title)) INCLUDE (id)
    WHERE size > 1;
CREATE INDEX videos_backwards ON app.videos (id app.backwards);
COMMENT ON INDEX app.videos_title IS 'for searching';
CREATE STATISTICS app.videos_statistics (dependencies, mcv) ON user_id, title FROM app.videos;
ALTER TABLE app.videos CLUSTER ON videos_pkey;
ALTER TABLE app.videos REPLICA IDENTITY FULL;
ALTER TABLE app.videos ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_videos ON app.videos FOR SELECT TO "kitchen reader", küche USING (size > 1);
CREATE POLICY "all; of them" ON app.videos AS RESTRICTIVE TO PUBLIC USING (true);
COMMENT ON POLICY own_videos ON app.videos IS 'a policy';

CREATE TABLE app.events (at date NOT NULL, user_id bigint, what text) PARTITION BY RANGE (at);
CREATE TABLE app.events_2025 PARTITION OF app.events
    FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE app.events_2026 (LIKE app.events INCLUDING ALL) PARTITION BY HASH (what);
ALTER TABLE app.events ATTACH PARTITION app.events_2026
    FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE app.events_2026_0 PARTITION OF app.events_2026
    FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE app.events_2026_1 PARTITION OF app.events_2026
    FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE app.events_rest PARTITION OF app.events DEFAULT;
CREATE INDEX events_at ON app.events (at, user_id);

CREATE TABLE app.parent (id integer, shared text DEFAULT 'x');
CREATE TABLE app.child (more text) INHERITS (app.parent);
CREATE TABLE app.no_columns ();
CREATE TABLE app.never_filled (id uuid PRIMARY KEY);
CREATE UNLOGGED TABLE app.unlogged (id integer);
CREATE TABLE app.typed OF app.pair;
CREATE TABLE app.other_method (id integer) USING heap_again;
CREATE TABLE app.raw_numbers (value app.raw_number);
CREATE TABLE public."we""ird; db" ("sel;ect" integer PRIMARY KEY, " spaced " text);
CREATE TABLE "Odd Schema"."naïve table" ("größe" integer, "日本" text);
CREATE TABLE public."line
break" (id integer);
CREATE TABLE public._prisma_migrations (
    id varchar(36) PRIMARY KEY, migration_name varchar(255) NOT NULL, finished_at timestamptz
);
CREATE TABLE public.dropped_column (a integer, gone text, b integer);
ALTER TABLE public.dropped_column DROP COLUMN gone;
COMMENT ON TABLE public."we""ird; db" IS 'Name: x; Type: TABLE; Schema: public; Owner: nobody';

CREATE SEQUENCE app.odd_numbers AS smallint START WITH 3 INCREMENT BY 2 CYCLE;
CREATE SEQUENCE "Odd Schema"."a seq" OWNED BY "Odd Schema"."naïve table"."größe";

-- Views, rules, event triggers
CREATE VIEW app.happy_users AS SELECT id, email FROM app.users WHERE mood >= 'happy'
    WITH LOCAL CHECK OPTION;
CREATE VIEW app.first_view AS SELECT 1 AS id, 'x'::text AS what;
CREATE VIEW app.second_view AS SELECT * FROM app.first_view;
CREATE OR REPLACE VIEW app.first_view AS SELECT id, what FROM app.second_view;
COMMENT ON VIEW app.happy_users IS 'a view';
ALTER VIEW app.happy_users ALTER COLUMN email SET DEFAULT 'a@b';
CREATE MATERIALIZED VIEW app.video_counts AS
    SELECT user_id, count(*) AS videos FROM app.videos GROUP BY user_id;
CREATE UNIQUE INDEX video_counts_user ON app.video_counts (user_id);
CREATE MATERIALIZED VIEW app.not_filled AS SELECT 1 AS one WITH NO DATA;
CREATE RULE no_delete AS ON DELETE TO public.dropped_column DO INSTEAD NOTHING;
COMMENT ON RULE no_delete ON public.dropped_column IS 'a rule';
CREATE FUNCTION app.on_command() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER watch_commands ON ddl_command_end EXECUTE FUNCTION app.on_command();
ALTER EVENT TRIGGER watch_commands DISABLE;
COMMENT ON EVENT TRIGGER watch_commands IS 'an event trigger';

-- Foreign data, replication
CREATE FOREIGN DATA WRAPPER own_wrapper;
CREATE SERVER "far away" FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'nowhere.invalid');
CREATE USER MAPPING FOR "kitchen reader" SERVER "far away" OPTIONS (user 'x');
CREATE FOREIGN TABLE app.far_table (id integer OPTIONS (column_name 'ID')) SERVER "far away";
GRANT USAGE ON FOREIGN SERVER "far away" TO küche;
GRANT USAGE ON FOREIGN DATA WRAPPER own_wrapper TO küche;
CREATE PUBLICATION some_tables FOR TABLE app.users, app.videos;
CREATE PUBLICATION all_tables FOR ALL TABLES WITH (publish = 'insert');
CREATE SUBSCRIPTION from_elsewhere CONNECTION 'host=nowhere.invalid dbname=x'
    PUBLICATION p WITH (connect = false, slot_name = NONE);
COMMENT ON SUBSCRIPTION from_elsewhere IS 'never restored by itself';

-- Rows
INSERT INTO app.users (email, nickname, mood, settings, extra, status, picture)
    SELECT 'user' || n || '@example.com', 'Nick' || n,
        (ARRAY['sad', 'happy', NULL])[n % 3 + 1]::app.mood,
        jsonb_build_object('n', n, 'text', E'tab\tquote"'), public.hstore('k', n::text),
        (ARRAY['new', 'paid'])[n % 2 + 1], decode(md5(n::text), 'hex')
    FROM generate_series(1, 500) AS n;
INSERT INTO app.videos (user_id, title, size, during, tags)
    SELECT 100 + 5 * (n % 500), E'title \\ ' || n || E'\nline', n,
        app.float_span(n, n + 0.5), ARRAY['a', NULL, 'c,"d']
    FROM generate_series(1, 1500) AS n;
INSERT INTO app.events
    SELECT date '2025-06-01' + n, n, 'what ' || n FROM generate_series(1, 900) AS n;
INSERT INTO app.parent SELECT n FROM generate_series(1, 10) AS n;
INSERT INTO app.child SELECT n, 'y', 'z' FROM generate_series(1, 5) AS n;
INSERT INTO app.no_columns DEFAULT VALUES;
INSERT INTO app.no_columns DEFAULT VALUES;
INSERT INTO app.unlogged VALUES (1), (2);
INSERT INTO app.typed VALUES (1, 'one');
INSERT INTO app.other_method VALUES (1);
INSERT INTO app.raw_numbers VALUES ('41'), ('42');
INSERT INTO public."we""ird; db" VALUES (1, '\.'), (2, E'\\.\nCOPY x FROM stdin;'), (3, NULL);
INSERT INTO "Odd Schema"."naïve table" VALUES (1, '値'), (2, '');
INSERT INTO public."line
break" VALUES (1);
INSERT INTO public._prisma_migrations VALUES ('a', '20260101000000_init', '2026-01-01T00:00:00Z');
INSERT INTO public.dropped_column VALUES (1, 2);
SELECT setval('app.odd_numbers', 9), setval('"Odd Schema"."a seq"', 7, false);
SELECT lo_create(4242), lo_create(4243), lo_create(4244);
SELECT lo_put(4242, 0, 'first large object'), lo_put(4243, 5000, 'sparse');
COMMENT ON LARGE OBJECT 4242 IS 'a large object';
ALTER LARGE OBJECT 4243 OWNER TO kitchen_owner;
GRANT SELECT ON LARGE OBJECT 4244 TO "kitchen reader";
REFRESH MATERIALIZED VIEW app.video_counts;
