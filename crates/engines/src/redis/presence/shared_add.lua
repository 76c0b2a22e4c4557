-- Adds clients, or replaces their entries, as Centrifugo v6 does.
-- KEYS: ends (sorted set), entries (hash), ends of users (sorted set), number of clients by user (hash)
-- ARGV: time to live in ms, 1 to keep users, 1 for hash fields that expire, then client, user and entry of each
if redis.replicate_commands then redis.replicate_commands() end
local life, users, fields = math.ceil(ARGV[1] / 1000), ARGV[2] == '1', ARGV[3] == '1'
local ends = redis.call('TIME')[1] + life
if fields then
    -- Fails before anything is written where the server does not know the command.
    redis.call('HEXPIRE', KEYS[2], life, 'FIELDS', 1, ARGV[4])
end
for i = 4, #ARGV, 3 do
    local client, user, entry = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    local added = redis.call('HSET', KEYS[2], client, entry) == 1
    if fields then
        redis.call('HEXPIRE', KEYS[2], life, 'FIELDS', 1, client)
    else
        redis.call('ZADD', KEYS[1], ends, client)
    end
    if users then
        if added then
            redis.call('HINCRBY', KEYS[4], user, 1)
        end
        if fields then
            redis.call('HEXPIRE', KEYS[4], life, 'FIELDS', 1, user)
        else
            redis.call('ZADD', KEYS[3], ends, user)
        end
    end
end
for _, key in ipairs(KEYS) do
    redis.call('EXPIRE', key, life)
end
return redis.status_reply('OK')
