-- Messages between nodes, version 1. They are read as the log of streams is.
CREATE SEQUENCE @S@.@P@_controller_id;
CREATE TABLE @S@.@P@_controller_log (
    id        bigint NOT NULL,
    xid       xid8 NOT NULL,
    sender    bytea NOT NULL,
    recipient bytea,                   -- NULL for all
    data      bytea NOT NULL,
    at        timestamptz NOT NULL
) PARTITION BY RANGE (at);
CREATE INDEX @P@_controller_log_id ON @S@.@P@_controller_log (id);
CREATE INDEX @P@_controller_log_xid ON @S@.@P@_controller_log (xid);
CREATE TABLE @S@.@P@_controller_log_rest PARTITION OF @S@.@P@_controller_log DEFAULT;

-- One row: nodes that listen renew it.
CREATE TABLE @S@.@P@_controller_store (
    one          boolean PRIMARY KEY DEFAULT true CHECK (one),
    notify_until timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO @S@.@P@_controller_store DEFAULT VALUES;

-- Sends a message. Messages are delivered at most once, so nobody waits for the disk.
CREATE OR REPLACE FUNCTION @S@.@P@_controller_send(p_sender bytea, p_recipient bytea, p_data bytea)
RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_xid xid8;
    v_id bigint;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    v_xid := pg_current_xact_id();
    v_id := nextval('@S@.@P@_controller_id');
    INSERT INTO @S@.@P@_controller_log (id, xid, sender, recipient, data, at)
    VALUES (v_id, v_xid, p_sender, p_recipient, p_data, clock_timestamp());
    IF (SELECT notify_until > clock_timestamp() FROM @S@.@P@_controller_store) THEN
        PERFORM pg_notify('@P@_controller', '');
    END IF;
    RETURN v_id;
END
$$;
