-- Streams of channels, version 1. @S@ is the quoted schema, @P@ the table prefix.
--
-- Every name that comes from outside (channels, keys, users, tags) is kept as bytes: text cannot hold a NUL, and its
-- order depends on the collation of the database.

-- The store itself, one row.
CREATE TABLE @S@.@P@_stream_store (
    one          boolean PRIMARY KEY DEFAULT true CHECK (one),
    life         text NOT NULL,        -- random; another one after a restore or a fail-over
    origin       text NOT NULL,        -- cluster, database and timeline that the life was drawn in
    shards       integer NOT NULL CHECK (shards BETWEEN 1 AND 1024),
    notify_until timestamptz NOT NULL DEFAULT '-infinity'
);

-- The log: everything that is delivered, in the order of ids within a channel. `xid` is the transaction that wrote the
-- row. Readers take what was committed between two snapshots, and so miss nothing however late a transaction ends.
CREATE SEQUENCE @S@.@P@_stream_id;
CREATE TABLE @S@.@P@_stream_log (
    id        bigint NOT NULL,
    xid       xid8 NOT NULL,
    shard     integer NOT NULL,
    kind      smallint NOT NULL,       -- 0 publication, 1 join, 2 leave
    channel   bytea NOT NULL,
    epoch     text,                    -- of a stored publication
    top       bigint,                  -- its offset
    data      bytea,
    tags      bytea[],                 -- keys and values in turn
    client    bytea,
    usr       bytea,
    conn_info bytea,
    chan_info bytea,
    version   bigint NOT NULL DEFAULT 0,
    delta     boolean NOT NULL DEFAULT false,
    at        timestamptz NOT NULL
) PARTITION BY RANGE (at);
CREATE INDEX @P@_stream_log_shard ON @S@.@P@_stream_log (shard, id);
CREATE INDEX @P@_stream_log_xid ON @S@.@P@_stream_log (shard, xid);
CREATE INDEX @P@_stream_log_channel ON @S@.@P@_stream_log (channel, epoch, top) WHERE top IS NOT NULL;
-- Takes rows of days without a partition, so that an application can publish while no node runs.
CREATE TABLE @S@.@P@_stream_log_rest PARTITION OF @S@.@P@_stream_log DEFAULT;

-- The top of each stream. A publish locks its row until the transaction ends: so offsets are consecutive, and are
-- committed in their order. `until` is indexed and rarely updated, so that most updates are heap-only.
CREATE TABLE @S@.@P@_stream_top (
    channel       bytea PRIMARY KEY,
    epoch         text NOT NULL,
    top           bigint NOT NULL DEFAULT 0,
    floor         bigint NOT NULL DEFAULT 0,            -- publications up to this offset are no longer kept
    kept_until    timestamptz NOT NULL DEFAULT '-infinity',
    until         timestamptz NOT NULL,
    version       bigint NOT NULL DEFAULT 0,
    version_epoch bytea NOT NULL DEFAULT ''
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
CREATE INDEX @P@_stream_top_until ON @S@.@P@_stream_top (until);

-- Idempotency keys, with the place that the first publish was given.
CREATE TABLE @S@.@P@_stream_key (
    channel bytea NOT NULL,
    key     bytea NOT NULL,
    epoch   text,
    top     bigint,
    until   timestamptz NOT NULL,
    PRIMARY KEY (channel, key)
);
CREATE INDEX @P@_stream_key_until ON @S@.@P@_stream_key (until);

-- A random name.
CREATE OR REPLACE FUNCTION @S@.@P@_stream_random() RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT left(replace(gen_random_uuid()::text, '-', ''), 12)
$$;

-- The timeline that is written to now. The control file would say so only after the next checkpoint.
CREATE OR REPLACE FUNCTION @S@.@P@_stream_timeline() RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT ltrim(left(pg_walfile_name(pg_current_wal_insert_lsn()), 8), '0')
$$;

CREATE OR REPLACE FUNCTION @S@.@P@_stream_origin() RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT concat_ws('/',
        (SELECT system_identifier FROM pg_control_system()),
        (SELECT oid FROM pg_database WHERE datname = current_database()),
        @S@.@P@_stream_timeline())
$$;

INSERT INTO @S@.@P@_stream_store (life, origin, shards)
VALUES (@S@.@P@_stream_random(), @S@.@P@_stream_origin(), @SHARDS@);

-- Begins a new life, unless another one than the given has begun already. To be called without arguments after the
-- files of a cluster were replaced by older ones while no node ran, which leaves no trace inside.
CREATE OR REPLACE FUNCTION @S@.@P@_stream_renew(p_life text DEFAULT NULL) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_life text;
BEGIN
    UPDATE @S@.@P@_stream_store SET life = @S@.@P@_stream_random(), origin = @S@.@P@_stream_origin()
    WHERE p_life IS NULL OR life = p_life;
    -- Ids of transactions of another cluster mean nothing in this one.
    UPDATE @S@.@P@_stream_log SET xid = '3' WHERE xid >= pg_snapshot_xmax(pg_current_snapshot());
    SELECT life INTO v_life FROM @S@.@P@_stream_store;
    RETURN v_life;
END
$$;

-- Called on every new connection.
CREATE OR REPLACE FUNCTION @S@.@P@_stream_check() RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_store @S@.@P@_stream_store;
BEGIN
    SELECT * INTO v_store FROM @S@.@P@_stream_store;
    IF v_store.origin <> @S@.@P@_stream_origin() THEN
        RETURN @S@.@P@_stream_renew(v_store.life);
    END IF;
    RETURN v_store.life;
END
$$;

-- What every publish, join and leave does. Durations are milliseconds. A NULL size stores nothing.
CREATE OR REPLACE FUNCTION @S@.@P@_stream_put(
    p_channel bytea, p_kind smallint, p_data bytea, p_tags bytea[],
    p_size bigint, p_ttl bigint, p_meta_ttl bigint,
    p_version bigint, p_version_epoch bytea, p_key bytea, p_key_ttl bigint, p_delta boolean,
    p_client bytea, p_user bytea, p_conn_info bytea, p_chan_info bytea
) RETURNS TABLE (r_id bigint, r_top bigint, r_epoch text, r_suppressed text, r_incarnation text)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_ms constant interval := interval '1 millisecond';
    v_now timestamptz;
    v_meta interval := greatest(p_meta_ttl, p_ttl, 1) * v_ms;
    v_keyed constant boolean := octet_length(p_key) > 0;
    v_stored constant boolean := p_size IS NOT NULL;
    v_shards integer;
    v_notify boolean;
    v_shard integer;
    v_hash bytea;
    v_xid xid8;
BEGIN
    SELECT life || '-' || @S@.@P@_stream_timeline(), shards, notify_until > clock_timestamp()
    INTO STRICT r_incarnation, v_shards, v_notify FROM @S@.@P@_stream_store;

    -- What readers have seen must survive a crash, or its offsets would be given again.
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'local', true);
    END IF;

    IF v_keyed AND v_stored THEN
        -- The stream is locked before the key is looked at, in every case: so two publishes cannot deadlock.
        LOOP
            INSERT INTO @S@.@P@_stream_top (channel, epoch, until)
            VALUES (p_channel, @S@.@P@_stream_random(), clock_timestamp() + v_meta)
            ON CONFLICT (channel) DO NOTHING;
            PERFORM 1 FROM @S@.@P@_stream_top WHERE channel = p_channel FOR UPDATE;
            EXIT WHEN FOUND;
        END LOOP;
        SELECT k.top, k.epoch INTO r_top, r_epoch FROM @S@.@P@_stream_key k
        WHERE k.channel = p_channel AND k.key = p_key AND k.until > clock_timestamp();
        IF FOUND THEN
            r_suppressed := 'idempotency';
            RETURN NEXT;
            RETURN;
        END IF;
    ELSIF v_keyed THEN
        INSERT INTO @S@.@P@_stream_key AS k (channel, key, until)
        VALUES (p_channel, p_key, clock_timestamp() + p_key_ttl * v_ms)
        ON CONFLICT (channel, key) DO UPDATE SET epoch = NULL, top = NULL, until = EXCLUDED.until
        WHERE k.until <= clock_timestamp();
        IF NOT FOUND THEN
            SELECT k.top, k.epoch INTO r_top, r_epoch FROM @S@.@P@_stream_key k
            WHERE k.channel = p_channel AND k.key = p_key;
            r_suppressed := 'idempotency';
            RETURN NEXT;
            RETURN;
        END IF;
    END IF;

    IF v_stored THEN
        INSERT INTO @S@.@P@_stream_top AS t
            (channel, epoch, top, floor, kept_until, until, version, version_epoch)
        VALUES (p_channel, @S@.@P@_stream_random(), 1, greatest(1 - p_size, 0),
            clock_timestamp() + p_ttl * v_ms, clock_timestamp() + v_meta, p_version, p_version_epoch)
        ON CONFLICT (channel) DO UPDATE SET
            epoch = CASE WHEN t.until <= clock_timestamp() THEN EXCLUDED.epoch ELSE t.epoch END,
            top = CASE WHEN t.until <= clock_timestamp() THEN 1 ELSE t.top + 1 END,
            floor = CASE
                WHEN t.until <= clock_timestamp() THEN EXCLUDED.floor
                WHEN t.kept_until <= clock_timestamp() THEN greatest(t.top, t.top + 1 - p_size)
                ELSE greatest(t.floor, t.top + 1 - p_size)
            END,
            kept_until = EXCLUDED.kept_until,
            until = CASE
                WHEN t.until BETWEEN EXCLUDED.until - v_meta / 8 AND EXCLUDED.until THEN t.until
                ELSE EXCLUDED.until
            END,
            version = EXCLUDED.version,
            version_epoch = EXCLUDED.version_epoch
        WHERE t.until <= clock_timestamp() OR p_version = 0 OR t.version < p_version
            OR (p_version_epoch <> '' AND p_version_epoch <> t.version_epoch)
        RETURNING t.top, t.epoch INTO r_top, r_epoch;
        IF NOT FOUND THEN
            SELECT t.top, t.epoch INTO r_top, r_epoch FROM @S@.@P@_stream_top t WHERE t.channel = p_channel;
            r_suppressed := 'version';
        END IF;
        IF v_keyed THEN
            INSERT INTO @S@.@P@_stream_key AS k (channel, key, epoch, top, until)
            VALUES (p_channel, p_key, r_epoch, r_top, clock_timestamp() + p_key_ttl * v_ms)
            ON CONFLICT (channel, key) DO UPDATE SET epoch = r_epoch, top = r_top, until = EXCLUDED.until;
        END IF;
        IF r_suppressed IS NOT NULL THEN
            RETURN NEXT;
            RETURN;
        END IF;
    END IF;

    v_hash := sha256(p_channel);
    v_shard := (get_byte(v_hash, 0) * 256 + get_byte(v_hash, 1)) % v_shards;
    v_xid := pg_current_xact_id();
    r_id := nextval('@S@.@P@_stream_id');
    v_now := clock_timestamp();
    INSERT INTO @S@.@P@_stream_log
        (id, xid, shard, kind, channel, epoch, top, data, tags, client, usr, conn_info, chan_info, version, delta, at)
    VALUES (r_id, v_xid, v_shard, p_kind, p_channel, r_epoch, r_top, p_data, p_tags, p_client, p_user,
        p_conn_info, p_chan_info, p_version, p_delta, v_now);
    IF v_notify THEN
        PERFORM pg_notify('@P@_stream', v_shard::text);
    END IF;
    RETURN NEXT;
END
$$;

-- Reads a slice of a stream, which is made if it does not exist. One row without publication (r_offset NULL) where
-- there is none to return. p_epoch NULL means the present one.
CREATE OR REPLACE FUNCTION @S@.@P@_stream_read(
    p_channel bytea, p_epoch text, p_after bigint, p_before bigint, p_reverse boolean, p_limit bigint,
    p_meta_ttl bigint, p_retention bigint
) RETURNS TABLE (r_incarnation text, r_epoch text, r_top bigint, r_offset bigint, r_data bytea, r_tags bytea[],
    r_client bytea, r_user bytea, r_conn_info bytea, r_chan_info bytea, r_version bigint, r_delta boolean, r_time bigint)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_now constant timestamptz := clock_timestamp();
    v_meta constant interval := greatest(p_meta_ttl, 1) * interval '1 millisecond';
    v_since constant timestamptz := v_now - p_retention * interval '1 millisecond';
    v_until timestamptz;
BEGIN
    SELECT t.until INTO v_until FROM @S@.@P@_stream_top t WHERE t.channel = p_channel;
    IF v_until IS NULL OR v_until < v_now + v_meta - v_meta / 8 THEN
        INSERT INTO @S@.@P@_stream_top AS t (channel, epoch, until)
        VALUES (p_channel, @S@.@P@_stream_random(), v_now + v_meta)
        ON CONFLICT (channel) DO UPDATE SET
            epoch = CASE WHEN t.until <= v_now THEN EXCLUDED.epoch ELSE t.epoch END,
            top = CASE WHEN t.until <= v_now THEN 0 ELSE t.top END,
            floor = CASE WHEN t.until <= v_now THEN 0 ELSE t.floor END,
            version = CASE WHEN t.until <= v_now THEN 0 ELSE t.version END,
            until = greatest(t.until, EXCLUDED.until);
    END IF;
    IF p_reverse THEN
        RETURN QUERY
        SELECT s.life || '-' || @S@.@P@_stream_timeline(), t.epoch, t.top, l.*
        FROM @S@.@P@_stream_store s
        JOIN @S@.@P@_stream_top t ON t.channel = p_channel
        LEFT JOIN LATERAL (
            SELECT l.top, l.data, l.tags, l.client, l.usr, l.conn_info, l.chan_info, l.version, l.delta,
                (extract(epoch FROM l.at) * 1000)::bigint
            FROM @S@.@P@_stream_log l
            WHERE l.channel = t.channel AND l.epoch = t.epoch AND l.top IS NOT NULL
                AND l.top > greatest(t.floor, p_after) AND l.top < p_before
                AND t.kept_until > v_now AND l.at > v_since AND (p_epoch IS NULL OR p_epoch = t.epoch)
            ORDER BY l.top DESC LIMIT p_limit
        ) l ON true;
    ELSE
        RETURN QUERY
        SELECT s.life || '-' || @S@.@P@_stream_timeline(), t.epoch, t.top, l.*
        FROM @S@.@P@_stream_store s
        JOIN @S@.@P@_stream_top t ON t.channel = p_channel
        LEFT JOIN LATERAL (
            SELECT l.top, l.data, l.tags, l.client, l.usr, l.conn_info, l.chan_info, l.version, l.delta,
                (extract(epoch FROM l.at) * 1000)::bigint
            FROM @S@.@P@_stream_log l
            WHERE l.channel = t.channel AND l.epoch = t.epoch AND l.top IS NOT NULL
                AND l.top > greatest(t.floor, p_after) AND l.top < p_before
                AND t.kept_until > v_now AND l.at > v_since AND (p_epoch IS NULL OR p_epoch = t.epoch)
            ORDER BY l.top LIMIT p_limit
        ) l ON true;
    END IF;
END
$$;

-- Drops what is kept of a stream; its position stays.
CREATE OR REPLACE FUNCTION @S@.@P@_stream_forget(p_channel bytea) RETURNS void LANGUAGE sql VOLATILE AS $$
    UPDATE @S@.@P@_stream_top SET floor = top WHERE channel = p_channel
$$;

-- Functions for applications, with the names, arguments and results of Centrifugo's. Each exists twice: `@P@_stream_`
-- takes JSON, `@P@_binary_stream_` bytes. Both write to the same streams. `p_num_shards` is ignored: the store knows it.
-- Epochs are in the form that clients use.

CREATE OR REPLACE FUNCTION @S@.@P@_stream_labels(p_tags jsonb) RETURNS bytea[] LANGUAGE sql IMMUTABLE AS $$
    SELECT array_agg(convert_to(part, 'UTF8') ORDER BY number, side)
    FROM jsonb_each_text(p_tags) WITH ORDINALITY AS tag (name, value, number),
        LATERAL (VALUES (0, name), (1, coalesce(value, ''))) AS parts (side, part)
$$;

CREATE OR REPLACE FUNCTION @S@.@P@_stream_millis(p_time interval, p_default bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce((extract(epoch FROM p_time) * 1000)::bigint, p_default)
$$;

@EACH
CREATE OR REPLACE FUNCTION @S@.@F@_bytes(p_data @T@) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
    SELECT @BYTES@
$$;

CREATE OR REPLACE FUNCTION @S@.@F@_publish(
    p_channel text,
    p_data @T@,
    p_tags jsonb DEFAULT NULL,
    p_history_ttl interval DEFAULT NULL,
    p_history_size integer DEFAULT NULL,
    p_meta_ttl interval DEFAULT NULL,
    p_version bigint DEFAULT NULL,
    p_version_epoch text DEFAULT NULL,
    p_idempotency_key text DEFAULT NULL,
    p_idempotency_ttl interval DEFAULT NULL,
    p_use_delta boolean DEFAULT false,
    p_client_id text DEFAULT NULL,
    p_user_id text DEFAULT NULL,
    p_conn_info @T@ DEFAULT NULL,
    p_chan_info @T@ DEFAULT NULL,
    p_num_shards integer DEFAULT NULL
) RETURNS TABLE (out_result_id bigint, out_channel_offset bigint, out_epoch text, out_suppressed boolean,
    out_suppress_reason text)
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF p_channel IS NULL OR p_data IS NULL THEN
        RAISE EXCEPTION 'p_channel and p_data must not be NULL' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    RETURN QUERY
    SELECT r_id, r_top, r_incarnation || '.' || r_epoch, r_suppressed IS NOT NULL, r_suppressed
    FROM @S@.@P@_stream_put(
        convert_to(p_channel, 'UTF8'), 0::smallint, @S@.@F@_bytes(p_data),
        @S@.@P@_stream_labels(p_tags),
        greatest(coalesce(p_history_size, 100), 0)::bigint,
        @S@.@P@_stream_millis(p_history_ttl, 60000), @S@.@P@_stream_millis(p_meta_ttl, 604800000),
        coalesce(p_version, 0), convert_to(coalesce(p_version_epoch, ''), 'UTF8'),
        convert_to(coalesce(p_idempotency_key, ''), 'UTF8'),
        @S@.@P@_stream_millis(p_idempotency_ttl, 300000), coalesce(p_use_delta, false),
        convert_to(p_client_id, 'UTF8'), convert_to(p_user_id, 'UTF8'),
        @S@.@F@_bytes(p_conn_info), @S@.@F@_bytes(p_chan_info));
END
$$;

-- As publish, but fails where nothing would be published.
CREATE OR REPLACE FUNCTION @S@.@F@_publish_strict(
    p_channel text,
    p_data @T@,
    p_tags jsonb DEFAULT NULL,
    p_history_ttl interval DEFAULT NULL,
    p_history_size integer DEFAULT NULL,
    p_meta_ttl interval DEFAULT NULL,
    p_version bigint DEFAULT NULL,
    p_version_epoch text DEFAULT NULL,
    p_idempotency_key text DEFAULT NULL,
    p_idempotency_ttl interval DEFAULT NULL,
    p_use_delta boolean DEFAULT false,
    p_client_id text DEFAULT NULL,
    p_user_id text DEFAULT NULL,
    p_conn_info @T@ DEFAULT NULL,
    p_chan_info @T@ DEFAULT NULL,
    p_num_shards integer DEFAULT NULL
) RETURNS TABLE (out_result_id bigint, out_channel_offset bigint, out_epoch text)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_result record;
BEGIN
    SELECT * INTO v_result FROM @S@.@F@_publish(p_channel, p_data, p_tags, p_history_ttl, p_history_size,
        p_meta_ttl, p_version, p_version_epoch, p_idempotency_key, p_idempotency_ttl, p_use_delta, p_client_id,
        p_user_id, p_conn_info, p_chan_info, p_num_shards);
    IF v_result.out_suppressed THEN
        RAISE EXCEPTION 'nothing published to channel %: %', p_channel,
            CASE v_result.out_suppress_reason
                WHEN 'version' THEN 'p_version is not above the last version of the stream'
                ELSE 'p_idempotency_key is known'
            END;
    END IF;
    out_result_id := v_result.out_result_id;
    out_channel_offset := v_result.out_channel_offset;
    out_epoch := v_result.out_epoch;
    RETURN NEXT;
END
$$;

CREATE OR REPLACE FUNCTION @S@.@F@_publish_join(
    p_channel text, p_client_id text, p_user_id text,
    p_conn_info @T@ DEFAULT NULL, p_chan_info @T@ DEFAULT NULL, p_num_shards integer DEFAULT NULL
) RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT r_id FROM @S@.@P@_stream_put(
        convert_to(p_channel, 'UTF8'), 1::smallint, NULL, NULL, NULL, NULL, NULL, 0, '', '', 0, false,
        convert_to(p_client_id, 'UTF8'), convert_to(p_user_id, 'UTF8'),
        @S@.@F@_bytes(p_conn_info), @S@.@F@_bytes(p_chan_info))
$$;

CREATE OR REPLACE FUNCTION @S@.@F@_publish_leave(
    p_channel text, p_client_id text, p_user_id text,
    p_conn_info @T@ DEFAULT NULL, p_chan_info @T@ DEFAULT NULL, p_num_shards integer DEFAULT NULL
) RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT r_id FROM @S@.@P@_stream_put(
        convert_to(p_channel, 'UTF8'), 2::smallint, NULL, NULL, NULL, NULL, NULL, 0, '', '', 0, false,
        convert_to(p_client_id, 'UTF8'), convert_to(p_user_id, 'UTF8'),
        @S@.@F@_bytes(p_conn_info), @S@.@F@_bytes(p_chan_info))
$$;

CREATE OR REPLACE FUNCTION @S@.@F@_remove_history(p_channel text, p_num_shards integer DEFAULT NULL)
RETURNS void LANGUAGE sql VOLATILE AS $$
    SELECT @S@.@P@_stream_forget(convert_to(p_channel, 'UTF8'))
$$;

-- The position of a channel; 0 and an empty epoch where there is no stream.
CREATE OR REPLACE FUNCTION @S@.@F@_top_position(p_channel text)
RETURNS TABLE (out_top_offset bigint, out_epoch text) LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(t.top, 0), coalesce(s.life || '-' || @S@.@P@_stream_timeline() || '.' || t.epoch, '')
    FROM @S@.@P@_stream_store s
    LEFT JOIN @S@.@P@_stream_top t
        ON t.channel = convert_to(p_channel, 'UTF8') AND t.until > clock_timestamp()
$$;
@END
