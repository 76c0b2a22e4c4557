-- Extends the life of entries, and returns the positions of those that have to be added, from 0.
-- ARGV: time to live in ms, 1 to keep users, then clients
local missing = {}
for i = 3, #ARGV do
    local client = ARGV[i]
    if redis.call('HEXISTS', KEYS[2], client) == 1
        and redis.call('ZSCORE', KEYS[1], client)
        and (ARGV[2] ~= '1' or redis.call('HEXISTS', KEYS[3], client) == 1)
    then
        redis.call('ZADD', KEYS[1], now() + ARGV[1], client)
    else
        missing[#missing + 1] = i - 3
    end
end
expire(16)
for _, key in ipairs(KEYS) do
    redis.call('PEXPIRE', key, ARGV[1])
end
return missing
