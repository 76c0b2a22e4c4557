-- Returns all entries.
tidy()
return redis.call('HVALS', KEYS[2])
