-- Returns all entries.
-- KEYS: ends (sorted set), entries (hash), ends of users (sorted set), number of clients by user (hash)
-- ARGV: time to live in ms, 1 to keep users, 1 for hash fields that expire
if redis.replicate_commands then redis.replicate_commands() end
if ARGV[3] ~= '1' then
    local now = redis.call('TIME')[1]
    for _, client in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
        redis.call('HDEL', KEYS[2], client)
    end
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
end
return redis.call('HVALS', KEYS[2])
