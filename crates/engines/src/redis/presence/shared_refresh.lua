-- Extends the life of entries, and returns the positions of those that have to be added, from 0.
-- KEYS: ends (sorted set), entries (hash), ends of users (sorted set), number of clients by user (hash)
-- ARGV: time to live in ms, 1 to keep users, 1 for hash fields that expire, then client and user of each
if redis.replicate_commands then redis.replicate_commands() end
local life, users, fields = math.ceil(ARGV[1] / 1000), ARGV[2] == '1', ARGV[3] == '1'
local ends = redis.call('TIME')[1] + life
local missing = {}
for i = 4, #ARGV, 2 do
    local client, user = ARGV[i], ARGV[i + 1]
    if redis.call('HEXISTS', KEYS[2], client) == 0 then
        missing[#missing + 1] = (i - 4) / 2
    elseif fields then
        redis.call('HEXPIRE', KEYS[2], life, 'FIELDS', 1, client)
        if users then
            redis.call('HEXPIRE', KEYS[4], life, 'FIELDS', 1, user)
        end
    else
        redis.call('ZADD', KEYS[1], ends, client)
        if users then
            redis.call('ZADD', KEYS[3], ends, user)
        end
    end
end
for _, key in ipairs(KEYS) do
    redis.call('EXPIRE', key, life)
end
return missing
