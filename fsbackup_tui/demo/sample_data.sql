-- The sample site's rows: everything follows from the row's number, so that two runs of the same
-- size hold the same bytes. psql variables: users (how many), samples (files of each kind on disk).
SET client_min_messages = warning;
SET synchronous_commit = off;
SET maintenance_work_mem = '256MB';
SET timezone = 'UTC';

INSERT INTO users (id, email, display_name, plan, credits, preferences, tags, created_at,
                   updated_at, deleted_at)
SELECT md5('user ' || n)::uuid,
       (ARRAY['Ana', 'bela', 'Chioma', 'Dmitri', 'Élise', 'farid', 'Grete', 'Haruto'])[1 + h % 8]
           || '.' || n || '@example.' || (ARRAY['com', 'org', 'net'])[1 + h % 3],
       (ARRAY['Ana', 'Béla', 'Chioma', 'Дмитрий', 'Élise', 'فريد', 'Grete', '春人'])[1 + h % 8]
           || ' ' || (ARRAY['Novák', 'Okafor', 'Müller', 'O''Brien', 'Sato'])[1 + h % 5],
       (ARRAY['free', 'free', 'starter', 'studio'])[1 + h % 4]::subscription_plan,
       (h % 100000) / 100.0,
       jsonb_build_object('theme', (ARRAY['dark', 'light'])[1 + h % 2], 'newsletter', h % 3 = 0,
                          'quality', 480 + 240 * (h % 4)),
       (ARRAY['{}', '{beta}', '{beta,"early bird"}'])[1 + h % 3]::text[],
       joined, joined + (h % 5000) * interval '1 minute',
       CASE WHEN h % 41 = 0 THEN joined + interval '60 days' END
FROM (SELECT n, abs(hashint8(n)::bigint) AS h,
             timestamptz '2025-01-01 00:00:00+00' + n * interval '1 minute' AS joined
      FROM generate_series(1, :users) AS n) AS numbered;

INSERT INTO face_sources
SELECT md5('face ' || n)::uuid, md5('user ' || 1 + n % :users)::uuid, 'Portrait ' || n,
       'face-sources/' || md5('face file ' || n % :samples)::uuid || '.jpg',
       512 + 64 * (h % 16), 512 + 64 * (h % 9),
       ARRAY[h % 512, h % 509 + 0.25, h % 503, h % 499 + 0.5, h % 491, h % 487]::real[],
       sha256(('face ' || n)::bytea),
       timestamptz '2025-03-01 00:00:00+00' + n * interval '40 seconds'
FROM (SELECT n, abs(hashint8(n)::bigint) AS h
      FROM generate_series(1, :users * 3 / 2) AS n) AS numbered;

INSERT INTO generated_videos
SELECT md5('video ' || n)::uuid, md5('user ' || 1 + n % :users)::uuid,
       md5('face ' || 1 + n % (:users * 3 / 2))::uuid,
       (ARRAY['Birthday', 'Holiday', 'Office', 'Concert', 'Garden'])[1 + h % 5] || ' no. ' || n,
       'Put the face of portrait ' || h % 9973 || ' into a '
           || (ARRAY['slow', 'bright', 'grainy', 'quiet', 'stormy'])[1 + h / 5 % 5] || ' scene by the '
           || (ARRAY['sea', 'station', 'window', 'river', 'market'])[1 + h / 25 % 5]
           || ', keep the light and the look; seed ' || md5(n::text),
       status, CASE WHEN status = 'completed'
           THEN 'generated-outputs/' || md5('output file ' || n % :samples)::uuid || '.mp4' END,
       CASE WHEN status = 'completed' THEN (h % 60000) / 1000.0 END,
       CASE WHEN status = 'completed' THEN 100000 + h % 90000000 END,
       jsonb_build_object('model', 'swap-' || 1 + h % 3, 'steps', 20 + h % 30,
                          'blend', (h % 100) / 100.0, 'audio', h % 2 = 0),
       made, CASE WHEN status = 'completed' THEN made + (h % 600) * interval '1 second' END
FROM (SELECT n, h, (ARRAY['completed', 'completed', 'completed', 'completed', 'completed',
                          'failed', 'processing', 'queued'])[1 + h % 8]::video_status AS status,
             timestamptz '2025-06-01 00:00:00+00' + n * interval '29 seconds' AS made
      FROM (SELECT n, abs(hashint8(n)::bigint) AS h
            FROM generate_series(1, :users * 4) AS n) AS numbered) AS judged;

INSERT INTO sessions (user_id, token_hash, address, user_agent, created_at, expires_at)
SELECT md5('user ' || 1 + n % :users)::uuid, sha256(('session ' || n)::bytea),
       inet '10.0.0.0' + h % 16777216,
       (ARRAY['Mozilla/5.0 (X11; Linux x86_64) Firefox/145.0',
              'Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) Version/19.1 Safari/605.1',
              'Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/142.0.0.0'])[1 + h % 3],
       begun, begun + interval '14 days'
FROM (SELECT n, abs(hashint8(n)::bigint) AS h,
             timestamptz '2026-01-01 00:00:00+00' + n * interval '9 seconds' AS begun
      FROM generate_series(1, :users * 3) AS n) AS numbered;

INSERT INTO likes
SELECT md5('user ' || u)::uuid,
       md5('video ' || 1 + (u * 37 + k * (:users * 4 / 12)) % (:users * 4))::uuid,
       timestamptz '2026-02-01 00:00:00+00' + (u * 12 + k) * interval '3 seconds'
FROM generate_series(1, :users) AS u, generate_series(0, 11) AS k;

INSERT INTO payments (user_id, amount, currency, reference, paid_on)
SELECT md5('user ' || 1 + n % :users)::uuid, 4.99 + n % 7 * 10,
       (ARRAY['EUR', 'EUR', 'USD', 'GBP'])[1 + n % 4], 'inv-' || md5('payment ' || n),
       date '2025-02-01' + (n % 600)::integer
FROM generate_series(1, :users / 2) AS n;

INSERT INTO events (happened_at, user_id, kind, detail)
SELECT timestamptz '2026-01-01 00:00:00+00'
           + n * (interval '250 days' / (:users * 20)),
       CASE WHEN n % 11 > 0 THEN md5('user ' || 1 + n % :users)::uuid END,
       (ARRAY['page.view', 'video.play', 'video.share', 'upload.start', 'upload.done'])
           [1 + h % 5],
       CASE WHEN h % 2 = 0 THEN jsonb_build_object('ms', h % 5000, 'path', '/v/' || h % 99991) END
FROM (SELECT n, abs(hashint8(n)::bigint) AS h
      FROM generate_series(1, :users * 20) AS n) AS numbered;

INSERT INTO _prisma_migrations
    (id, checksum, finished_at, migration_name, started_at, applied_steps_count)
SELECT md5('migration ' || name)::uuid, encode(sha256(name::bytea), 'hex'),
       at + interval '2 seconds', name, at, 1
FROM (SELECT name, timestamptz '2025-01-01 09:00:00+00' + place * interval '31 days' AS at
      FROM unnest(ARRAY['20250101090000_init', '20250214101500_add_face_sources',
                        '20250601083000_add_generated_videos', '20251220160000_add_likes',
                        '20260105113000_partition_events']) WITH ORDINALITY AS m (name, place)
     ) AS migrations;

CREATE UNIQUE INDEX users_email_key ON users (email_key);
CREATE INDEX users_preferences ON users USING gin (preferences);
CREATE INDEX face_sources_user_id ON face_sources (user_id);
CREATE INDEX generated_videos_user_id_created_at ON generated_videos (user_id, created_at DESC);
CREATE INDEX generated_videos_unfinished ON generated_videos (created_at)
    WHERE status IN ('queued', 'processing');
CREATE UNIQUE INDEX sessions_token_hash ON sessions (token_hash);
CREATE INDEX likes_video_id ON likes (video_id);
CREATE INDEX events_user_id ON events (user_id, happened_at);

ALTER TABLE face_sources
    ADD FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE;
ALTER TABLE generated_videos
    ADD FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    ADD FOREIGN KEY (face_source_id) REFERENCES face_sources (id);
ALTER TABLE sessions ADD FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE;
ALTER TABLE likes
    ADD FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    ADD FOREIGN KEY (video_id) REFERENCES generated_videos (id) ON DELETE CASCADE;
ALTER TABLE payments ADD FOREIGN KEY (user_id) REFERENCES users (id);

CREATE TRIGGER users_touch_updated_at BEFORE UPDATE ON users
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE MATERIALIZED VIEW daily_videos AS
    SELECT (created_at AT TIME ZONE 'UTC')::date AS day, status, count(*) AS videos, sum(size_bytes) AS bytes
    FROM generated_videos GROUP BY 1, 2;

VACUUM (ANALYZE) users, face_sources, generated_videos, sessions, likes, payments, events,
    _prisma_migrations, daily_videos;
