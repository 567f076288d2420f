-- A double of what Supabase puts into a project's database: its roles, schemas, tables and
-- locks, as its documentation and public image describe them, cut down to one of each kind.
-- Run by the bootstrap superuser, supabase_admin.

-- Roles. The project's own administrator is no superuser.
CREATE ROLE postgres LOGIN NOSUPERUSER CREATEDB CREATEROLE REPLICATION BYPASSRLS;
CREATE ROLE anon NOLOGIN NOINHERIT;
CREATE ROLE authenticated NOLOGIN NOINHERIT;
CREATE ROLE service_role NOLOGIN NOINHERIT BYPASSRLS;
CREATE ROLE authenticator LOGIN NOINHERIT PASSWORD 'not-in-any-backup';
CREATE ROLE supabase_auth_admin LOGIN NOINHERIT CREATEROLE;
CREATE ROLE supabase_storage_admin LOGIN NOINHERIT CREATEROLE;
CREATE ROLE supabase_realtime_admin NOLOGIN NOINHERIT;
CREATE ROLE supabase_functions_admin LOGIN NOINHERIT CREATEROLE;
CREATE ROLE supabase_replication_admin LOGIN REPLICATION;
CREATE ROLE supabase_read_only_user LOGIN BYPASSRLS;
CREATE ROLE dashboard_user NOLOGIN CREATEDB CREATEROLE REPLICATION;
CREATE ROLE pgbouncer LOGIN;
GRANT pg_read_all_data TO supabase_read_only_user;
GRANT anon, authenticated, service_role TO authenticator;
GRANT anon, authenticated, service_role TO postgres WITH ADMIN OPTION;
GRANT supabase_realtime_admin, pg_monitor, pg_signal_backend TO postgres;
ALTER ROLE anon SET statement_timeout = '3s';
ALTER ROLE authenticator SET statement_timeout = '8s';
ALTER ROLE supabase_admin SET search_path TO "$user", public, auth, extensions;
ALTER ROLE supabase_auth_admin SET search_path TO 'auth';
ALTER ROLE postgres SET search_path TO "$user", public, extensions;
ALTER DATABASE postgres OWNER TO postgres;
ALTER DATABASE postgres SET statement_timeout = '2min';
ALTER DATABASE postgres SET "app.settings.jwt_exp" = '3600';
GRANT ALL ON DATABASE postgres TO dashboard_user;

GRANT EXECUTE ON FUNCTION pg_catalog.pg_reload_conf() TO postgres;

-- Extensions, in schemas of their own.
CREATE SCHEMA extensions;
CREATE SCHEMA vault;
CREATE SCHEMA graphql;
CREATE SCHEMA graphql_public;
CREATE EXTENSION "uuid-ossp" SCHEMA extensions;
CREATE EXTENSION pgcrypto SCHEMA extensions;
CREATE EXTENSION pg_stat_statements SCHEMA extensions;
CREATE EXTENSION supabase_vault SCHEMA vault;
CREATE EXTENSION pg_graphql SCHEMA graphql;
GRANT ALL ON SCHEMA extensions TO postgres, dashboard_user;
GRANT USAGE ON SCHEMA extensions TO anon, authenticated, service_role;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA extensions TO postgres WITH GRANT OPTION;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA extensions TO dashboard_user;
GRANT USAGE ON SCHEMA vault, graphql, graphql_public TO postgres, service_role;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA graphql TO postgres, anon, authenticated;
INSERT INTO vault.secrets (name, secret) VALUES ('stripe', 'ciphertext that needs the root key');

CREATE FUNCTION graphql_public.graphql(query text) RETURNS jsonb LANGUAGE sql
    AS $$ SELECT graphql.resolve(query) $$;
GRANT EXECUTE ON FUNCTION graphql_public.graphql TO anon, authenticated;

-- Event triggers, which nobody but a superuser can own.
CREATE FUNCTION extensions.pgrst_ddl_watch() RETURNS event_trigger LANGUAGE plpgsql
    AS $$ BEGIN NOTIFY pgrst, 'reload schema'; END $$;
CREATE FUNCTION extensions.grant_pg_graphql_access() RETURNS event_trigger LANGUAGE plpgsql
    AS $$ BEGIN
      IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() AS c
                 WHERE c.object_identity = 'graphql.resolve(text)') THEN
        GRANT USAGE ON SCHEMA graphql TO anon;
      END IF;
    END $$;
COMMENT ON FUNCTION extensions.grant_pg_graphql_access() IS 'Grants access to pg_graphql';
CREATE EVENT TRIGGER pgrst_ddl_watch ON ddl_command_end
    EXECUTE FUNCTION extensions.pgrst_ddl_watch();
CREATE EVENT TRIGGER issue_pg_graphql_access ON ddl_command_end WHEN TAG IN ('CREATE FUNCTION')
    EXECUTE FUNCTION extensions.grant_pg_graphql_access();

-- Authentication.
CREATE SCHEMA auth;
GRANT ALL ON SCHEMA auth TO supabase_auth_admin, dashboard_user;
GRANT USAGE ON SCHEMA auth TO postgres, anon, authenticated, service_role;
SET ROLE supabase_auth_admin;
CREATE TYPE auth.factor_type AS ENUM ('totp', 'webauthn', 'phone');
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE
    AS $$ SELECT nullif(current_setting('request.jwt.claim.sub', true), '')::uuid $$;
CREATE FUNCTION auth.role() RETURNS text LANGUAGE sql STABLE
    AS $$ SELECT nullif(current_setting('request.jwt.claim.role', true), '')::text $$;
CREATE TABLE auth.users (
    id uuid PRIMARY KEY,
    instance_id uuid,
    email varchar(255),
    encrypted_password varchar(255),
    email_confirmed_at timestamptz,
    phone_confirmed_at timestamptz,
    confirmed_at timestamptz
        GENERATED ALWAYS AS (LEAST(email_confirmed_at, phone_confirmed_at)) STORED,
    raw_user_meta_data jsonb,
    is_anonymous boolean NOT NULL DEFAULT false,
    created_at timestamptz,
    CONSTRAINT users_email_check CHECK (email IS NOT NULL OR is_anonymous)
);
COMMENT ON TABLE auth.users IS 'Auth: Stores user login data within a secure schema.';
CREATE UNIQUE INDEX users_email_partial_key ON auth.users (email) WHERE NOT is_anonymous;
CREATE TABLE auth.identities (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    provider text NOT NULL,
    provider_id text NOT NULL,
    identity_data jsonb NOT NULL,
    UNIQUE (provider_id, provider)
);
CREATE TABLE auth.mfa_factors (
    id uuid PRIMARY KEY, user_id uuid REFERENCES auth.users (id), factor_type auth.factor_type
);
CREATE TABLE auth.refresh_tokens (
    id bigserial PRIMARY KEY, token varchar(255) UNIQUE, user_id varchar(255), revoked boolean
);
CREATE TABLE auth.schema_migrations (version varchar(255) PRIMARY KEY);
COMMENT ON TABLE auth.schema_migrations IS 'Auth: Manages updates to the auth system.';
INSERT INTO auth.schema_migrations VALUES ('20171026211738'), ('20250904133000');
ALTER TABLE auth.users ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.identities ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.refresh_tokens ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.schema_migrations ENABLE ROW LEVEL SECURITY;
GRANT ALL ON auth.users, auth.identities, auth.mfa_factors, auth.refresh_tokens
    TO postgres, dashboard_user;
GRANT ALL ON SEQUENCE auth.refresh_tokens_id_seq TO postgres, dashboard_user;
ALTER DEFAULT PRIVILEGES IN SCHEMA auth GRANT ALL ON TABLES TO postgres, dashboard_user;
INSERT INTO auth.users (id, email, encrypted_password, email_confirmed_at, raw_user_meta_data,
                        created_at)
SELECT ('00000000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, 'face' || i || '@example.org',
       '$2a$10$' || md5(i::text), timestamptz '2026-01-01' + i * interval '1 hour',
       jsonb_build_object('name', 'Person ' || i), timestamptz '2026-01-01'
FROM generate_series(1, 120) AS i;
INSERT INTO auth.identities (user_id, provider, provider_id, identity_data)
SELECT id, 'email', id::text, jsonb_build_object('sub', id) FROM auth.users;
INSERT INTO auth.refresh_tokens (token, user_id, revoked)
SELECT md5(i::text), i::text, false FROM generate_series(1, 40) AS i;
RESET ROLE;

-- Storage: what lies in buckets is elsewhere, its names and policies are here.
CREATE SCHEMA storage;
GRANT ALL ON SCHEMA storage TO supabase_storage_admin WITH GRANT OPTION;
GRANT USAGE ON SCHEMA storage TO postgres, anon, authenticated, service_role;
SET ROLE supabase_storage_admin;
CREATE FUNCTION storage.foldername(name text) RETURNS text[] LANGUAGE plpgsql IMMUTABLE
    AS $$ DECLARE parts text[] := string_to_array(name, '/');
    BEGIN RETURN parts[1 : array_length(parts, 1) - 1]; END $$;
CREATE FUNCTION storage.update_updated_at() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN NEW.updated_at := now(); RETURN NEW; END $$;
CREATE FUNCTION storage.protect_delete() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN
      IF coalesce(current_setting('storage.allow_delete_query', true), 'false') <> 'true' THEN
        RAISE EXCEPTION 'Direct deletion from storage tables is not allowed'
            USING ERRCODE = '42501';
      END IF;
      RETURN NULL;
    END $$;
CREATE TABLE storage.buckets (
    id text PRIMARY KEY, name text NOT NULL UNIQUE, public boolean DEFAULT false,
    file_size_limit bigint, allowed_mime_types text[]
);
CREATE TABLE storage.objects (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    bucket_id text REFERENCES storage.buckets (id),
    name text COLLATE "C",
    owner_id text,
    metadata jsonb,
    path_tokens text[] GENERATED ALWAYS AS (string_to_array(name, '/')) STORED,
    version text,
    updated_at timestamptz DEFAULT now()
);
CREATE UNIQUE INDEX bucketid_objname ON storage.objects (bucket_id, name);
CREATE TABLE storage.migrations (
    id integer PRIMARY KEY, name varchar(100) UNIQUE NOT NULL, hash varchar(40) NOT NULL
);
CREATE TRIGGER update_objects_updated_at BEFORE UPDATE ON storage.objects
    FOR EACH ROW EXECUTE FUNCTION storage.update_updated_at();
CREATE TRIGGER protect_objects_delete BEFORE DELETE ON storage.objects
    FOR EACH STATEMENT EXECUTE FUNCTION storage.protect_delete();
ALTER TABLE storage.objects ENABLE ROW LEVEL SECURITY;
ALTER TABLE storage.buckets ENABLE ROW LEVEL SECURITY;
ALTER TABLE storage.migrations ENABLE ROW LEVEL SECURITY;
GRANT ALL ON storage.objects, storage.buckets TO postgres WITH GRANT OPTION;
GRANT ALL ON storage.objects, storage.buckets TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA storage
    GRANT ALL ON TABLES TO postgres, anon, authenticated, service_role;
INSERT INTO storage.migrations VALUES (0, 'create-migrations-table', md5('0'));
INSERT INTO storage.buckets (id, name, public) VALUES ('faces', 'faces', false),
    ('videos', 'videos', true);
INSERT INTO storage.objects (bucket_id, name, owner_id, metadata, version)
SELECT 'faces', i || '/face.jpg', i::text, jsonb_build_object('size', i * 1000), md5(i::text)
FROM generate_series(1, 60) AS i;
RESET ROLE;

-- Realtime: a partition for every day, rows that pass.
CREATE SCHEMA realtime;
GRANT USAGE ON SCHEMA realtime TO postgres, anon, authenticated, service_role;
GRANT ALL ON SCHEMA realtime TO supabase_realtime_admin;
CREATE FUNCTION realtime.topic() RETURNS text LANGUAGE sql STABLE
    AS $$ SELECT nullif(current_setting('realtime.topic', true), '')::text $$;
CREATE TABLE realtime.schema_migrations (version bigint PRIMARY KEY, inserted_at timestamp(0));
CREATE TABLE realtime.messages (
    id uuid NOT NULL DEFAULT gen_random_uuid(), topic text NOT NULL, payload jsonb,
    inserted_at timestamp NOT NULL DEFAULT now(), PRIMARY KEY (id, inserted_at)
) PARTITION BY RANGE (inserted_at);
ALTER TABLE realtime.messages OWNER TO supabase_realtime_admin;
ALTER TABLE realtime.messages ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE ON realtime.messages TO postgres, anon, authenticated;
CREATE TABLE realtime.messages_2026_11_22 PARTITION OF realtime.messages
    FOR VALUES FROM ('2026-11-22') TO ('2026-11-23');
INSERT INTO realtime.messages (topic, inserted_at) VALUES ('room', '2026-11-22 12:00');
CREATE TABLE realtime.subscription (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, entity text);
GRANT ALL ON realtime.subscription TO postgres;
GRANT USAGE, SELECT ON SEQUENCE realtime.subscription_id_seq TO postgres;
INSERT INTO realtime.subscription (entity) VALUES ('public.profiles');

-- Webhooks, and the schemas of services that are none of the site's business.
CREATE SCHEMA supabase_functions AUTHORIZATION supabase_admin;
GRANT USAGE ON SCHEMA supabase_functions TO postgres, anon, authenticated, service_role;
CREATE TABLE supabase_functions.hooks (id bigserial PRIMARY KEY, hook_name text);
CREATE TABLE supabase_functions.migrations (version text PRIMARY KEY);
CREATE FUNCTION supabase_functions.http_request() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'supabase_functions'
    AS $$ BEGIN PERFORM net.http_post(TG_ARGV[0]); RETURN NEW; END $$;
CREATE SCHEMA pgbouncer AUTHORIZATION pgbouncer;
CREATE FUNCTION pgbouncer.get_auth(p_usename text) RETURNS TABLE (username text, password text)
    LANGUAGE plpgsql SECURITY DEFINER
    AS $$ BEGIN RETURN QUERY SELECT rolname::text, rolpassword::text FROM pg_authid
          WHERE rolname = p_usename; END $$;
CREATE SCHEMA _analytics;
CREATE TABLE _analytics.sources (id bigint PRIMARY KEY, token text);

-- What the project's API roles get by default.
GRANT USAGE ON SCHEMA public TO postgres, anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE supabase_admin IN SCHEMA public
    GRANT ALL ON TABLES TO postgres, anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public
    GRANT ALL ON TABLES TO postgres, anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public
    GRANT ALL ON FUNCTIONS TO postgres, anon, authenticated, service_role;

-- The site's own, made by its administrator.
SET ROLE postgres;
CREATE SCHEMA supabase_migrations;
CREATE TABLE supabase_migrations.schema_migrations (version text PRIMARY KEY, statements text[]);
INSERT INTO supabase_migrations.schema_migrations VALUES ('20260101000000', '{"SELECT 1"}');
CREATE TABLE public._prisma_migrations (
    id varchar(36) PRIMARY KEY, checksum varchar(64) NOT NULL, finished_at timestamptz,
    migration_name varchar(255) NOT NULL, logs text, rolled_back_at timestamptz,
    started_at timestamptz NOT NULL DEFAULT now(), applied_steps_count integer NOT NULL DEFAULT 0
);
INSERT INTO public._prisma_migrations (id, checksum, finished_at, migration_name)
    VALUES ('1', 'x', '2026-01-02', '20260101_init');
CREATE TABLE public.profiles (
    id uuid PRIMARY KEY REFERENCES auth.users (id) ON DELETE CASCADE, name text, credits int
);
CREATE TABLE public.face_sources (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES public.profiles (id), object text NOT NULL
);
CREATE TABLE public.generated_videos (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL DEFAULT auth.uid() REFERENCES public.profiles (id),
    status text NOT NULL CHECK (status IN ('queued', 'done')), made_at timestamptz
);
CREATE INDEX generated_videos_user ON public.generated_videos (user_id);
CREATE VIEW public.video_counts AS
    SELECT user_id, count(*) AS videos FROM public.generated_videos GROUP BY user_id;
CREATE FUNCTION public.handle_new_user() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$ BEGIN
      INSERT INTO public.profiles (id, name, credits)
      VALUES (NEW.id, NEW.raw_user_meta_data ->> 'name', 3);
      RETURN NEW;
    END $$;
INSERT INTO public.profiles SELECT id, raw_user_meta_data ->> 'name', 5 FROM auth.users;
INSERT INTO public.face_sources (user_id, object) SELECT id, id || '.jpg' FROM public.profiles;
INSERT INTO public.generated_videos (user_id, status, made_at)
    SELECT id, 'done', '2026-02-01' FROM public.profiles;
ALTER TABLE public.profiles ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.generated_videos ENABLE ROW LEVEL SECURITY;
CREATE POLICY "Users see themselves" ON public.profiles FOR SELECT TO authenticated
    USING ((SELECT auth.uid()) = id);
CREATE POLICY "Everybody sees videos" ON public.generated_videos FOR SELECT TO anon, authenticated
    USING (true);
REVOKE ALL ON public.profiles FROM anon;
CREATE TRIGGER notify_render AFTER INSERT ON public.generated_videos
    FOR EACH ROW EXECUTE FUNCTION supabase_functions.http_request('https://render.example.org');
CREATE TRIGGER on_auth_user_created AFTER INSERT ON auth.users
    FOR EACH ROW EXECUTE FUNCTION public.handle_new_user();
CREATE PUBLICATION supabase_realtime FOR TABLE public.generated_videos;
RESET ROLE;

-- On the platform an extension of its lets postgres do this; here its superuser does.
CREATE POLICY "Own faces" ON storage.objects TO authenticated
    USING (bucket_id = 'faces' AND (storage.foldername(name))[1] = (SELECT auth.uid()::text));
CREATE POLICY "Own room" ON realtime.messages FOR SELECT TO authenticated
    USING (realtime.topic() = 'room');
CREATE PUBLICATION supabase_realtime_messages_publication FOR TABLE realtime.messages;
