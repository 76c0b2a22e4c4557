-- Partitions of @LOG@, one a day (UTC). No statement waits for a lock longer than p_patience milliseconds: whoever
-- waits for the table holds back everyone who comes after.

-- Makes the partitions from today to p_ahead days later, unless rows of such a day are in the rest already.
CREATE OR REPLACE FUNCTION @S@.@LOG@_add(p_ahead integer, p_patience integer) RETURNS integer
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_today constant date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
    v_from timestamptz;
    v_to timestamptz;
    v_name text;
    v_made integer := 0;
BEGIN
    -- Another node may be at it.
    IF NOT pg_try_advisory_xact_lock(1397772887, '@S@.@LOG@'::regclass::oid::integer) THEN
        RETURN 0;
    END IF;
    PERFORM set_config('lock_timeout', p_patience::text, true);
    FOR v_day IN 0..p_ahead LOOP
        v_name := '@LOG@_' || to_char(v_today + v_day, 'YYYYMMDD');
        CONTINUE WHEN to_regclass(format('@S@.%I', v_name)) IS NOT NULL;
        v_from := (v_today + v_day)::timestamp AT TIME ZONE 'UTC';
        v_to := (v_today + v_day + 1)::timestamp AT TIME ZONE 'UTC';
        PERFORM 1 FROM @S@.@LOG@_rest WHERE at >= v_from AND at < v_to LIMIT 1;
        CONTINUE WHEN FOUND;
        -- Attaching a table, other than making it as a partition, lets others go on writing.
        EXECUTE format('CREATE TABLE @S@.%I (LIKE @S@.@LOG@ INCLUDING ALL)', v_name);
        EXECUTE format('ALTER TABLE @S@.@LOG@ ATTACH PARTITION @S@.%I FOR VALUES FROM (%L) TO (%L)',
            v_name, v_from, v_to);
        v_made := v_made + 1;
    END LOOP;
    RETURN v_made;
END
$$;

-- Drops the partitions of days that ended more than p_keep days ago, and as old rows of the rest, at most 10,000 of
-- them at a time.
CREATE OR REPLACE FUNCTION @S@.@LOG@_drop(p_keep integer, p_patience integer) RETURNS integer
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_oldest constant date := (clock_timestamp() AT TIME ZONE 'UTC')::date - p_keep;
    v_name text;
    v_dropped integer := 0;
BEGIN
    IF NOT pg_try_advisory_xact_lock(1397772887, '@S@.@LOG@'::regclass::oid::integer) THEN
        RETURN 0;
    END IF;
    PERFORM set_config('lock_timeout', p_patience::text, true);
    DELETE FROM @S@.@LOG@_rest WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM @S@.@LOG@_rest WHERE at < v_oldest::timestamp AT TIME ZONE 'UTC' LIMIT 10000));
    FOR v_name IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = '@S@.@LOG@'::regclass AND c.relname ~ '^@LOG@_[0-9]{8}$'
            AND right(c.relname, 8) < to_char(v_oldest, 'YYYYMMDD')
    LOOP
        EXECUTE format('DROP TABLE @S@.%I', v_name);
        v_dropped := v_dropped + 1;
    END LOOP;
    RETURN v_dropped;
END
$$;
