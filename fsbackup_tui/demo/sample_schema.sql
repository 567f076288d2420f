-- The sample site's schema: a face-swap application as Prisma and a few years would leave it.
-- Run by the application's own role in its own empty database.
SET client_min_messages = warning;

CREATE TYPE subscription_plan AS ENUM ('free', 'starter', 'studio');
CREATE TYPE video_status AS ENUM ('queued', 'processing', 'completed', 'failed');

CREATE TABLE users (
    id uuid PRIMARY KEY,
    email text NOT NULL,
    email_key text GENERATED ALWAYS AS (lower(email)) STORED,
    display_name text NOT NULL,
    plan subscription_plan NOT NULL DEFAULT 'free',
    credits numeric(10, 2) NOT NULL DEFAULT 0 CHECK (credits >= 0),
    preferences jsonb NOT NULL DEFAULT '{}',
    tags text[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz
);
COMMENT ON TABLE users IS 'Everybody who ever signed up; deleted_at marks those who left.';

CREATE TABLE face_sources (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL,
    label text NOT NULL,
    file_path text NOT NULL,
    width integer NOT NULL,
    height integer NOT NULL,
    landmarks real[] NOT NULL,
    sha256 bytea NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE generated_videos (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL,
    face_source_id uuid NOT NULL,
    title text NOT NULL,
    prompt text NOT NULL,
    status video_status NOT NULL DEFAULT 'queued',
    output_path text,
    duration_seconds numeric(8, 3),
    size_bytes bigint,
    parameters jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    completed_at timestamptz,
    CONSTRAINT completed_has_output CHECK (status <> 'completed' OR output_path IS NOT NULL)
);
COMMENT ON COLUMN generated_videos.output_path IS 'below storage/, of completed videos alone';

CREATE TABLE sessions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id uuid NOT NULL,
    token_hash bytea NOT NULL,
    address inet NOT NULL,
    user_agent text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);

CREATE TABLE likes (
    user_id uuid NOT NULL,
    video_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, video_id)
);

CREATE TABLE payments (
    id serial PRIMARY KEY,
    user_id uuid NOT NULL,
    amount numeric(12, 2) NOT NULL,
    currency character(3) NOT NULL DEFAULT 'EUR',
    reference text NOT NULL UNIQUE,
    paid_on date NOT NULL
);

CREATE TABLE events (
    id bigserial,
    happened_at timestamptz NOT NULL,
    user_id uuid,
    kind text NOT NULL,
    detail jsonb,
    PRIMARY KEY (id, happened_at)
) PARTITION BY RANGE (happened_at);
CREATE TABLE events_2026_q1 PARTITION OF events
    FOR VALUES FROM ('2026-01-01 00:00:00+00') TO ('2026-04-01 00:00:00+00');
CREATE TABLE events_2026_q2 PARTITION OF events
    FOR VALUES FROM ('2026-04-01 00:00:00+00') TO ('2026-07-01 00:00:00+00');
CREATE TABLE events_later PARTITION OF events DEFAULT;

CREATE TABLE _prisma_migrations (
    id character varying(36) PRIMARY KEY,
    checksum character varying(64) NOT NULL,
    finished_at timestamptz,
    migration_name character varying(255) NOT NULL,
    logs text,
    rolled_back_at timestamptz,
    started_at timestamptz NOT NULL,
    applied_steps_count integer NOT NULL DEFAULT 0
);

CREATE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$body$;

CREATE VIEW video_feed AS
    SELECT v.id, v.title, v.output_path, v.created_at, u.display_name,
           (SELECT count(*) FROM likes l WHERE l.video_id = v.id) AS likes
    FROM generated_videos v JOIN users u ON u.id = v.user_id
    WHERE v.status = 'completed' AND u.deleted_at IS NULL;
