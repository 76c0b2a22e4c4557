-- Removes a client.
-- KEYS: ends (sorted set), entries (hash), ends of users (sorted set), number of clients by user (hash)
-- ARGV: time to live in ms, 1 to keep users, 1 for hash fields that expire, client, user
local client, user = ARGV[4], ARGV[5]
local there = redis.call('HDEL', KEYS[2], client) == 1
redis.call('ZREM', KEYS[1], client)
if ARGV[2] == '1' and there and redis.call('HINCRBY', KEYS[4], user, -1) <= 0 then
    redis.call('HDEL', KEYS[4], user)
    redis.call('ZREM', KEYS[3], user)
end
return redis.status_reply('OK')
