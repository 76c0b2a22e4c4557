-- Returns all entries.
-- KEYS: entries, users of clients (hashes)
return redis.call('HVALS', KEYS[1])
