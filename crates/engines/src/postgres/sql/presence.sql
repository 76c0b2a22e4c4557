-- Presence, version 1. The table is not logged: after a crash of the server it is empty, and refreshes fill it again.
CREATE UNLOGGED TABLE @S@.@P@_presence (
    channel bytea NOT NULL,
    client  bytea NOT NULL,
    usr     bytea NOT NULL,
    info    bytea NOT NULL,
    until   timestamptz NOT NULL,
    PRIMARY KEY (channel, client)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
