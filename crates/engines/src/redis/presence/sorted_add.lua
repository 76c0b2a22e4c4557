-- Adds clients, or replaces their entries.
-- ARGV: time to live in ms, 1 to keep users, then client, user and entry of each
count_users()
-- A few expired ones go, so that a channel that nobody asks for does not keep them.
expire(16)
for i = 3, #ARGV, 3 do
    local client, user, entry = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    drop(client)
    redis.call('ZADD', KEYS[1], now() + ARGV[1], client)
    redis.call('HSET', KEYS[2], client, entry)
    if ARGV[2] == '1' then
        redis.call('HSET', KEYS[3], client, user)
        redis.call('HINCRBY', KEYS[4], user, 1)
    end
end
for _, key in ipairs(KEYS) do
    redis.call('PEXPIRE', key, ARGV[1])
end
return redis.status_reply('OK')
