-- KEYS: expirations (sorted set), entries, users of clients, clients of users (hashes)
-- Times are those of the server. Before Redis 7, a script that asks for them may write only in this mode, which is the
-- only one since.
if redis.replicate_commands then redis.replicate_commands() end

local function now()
    local time = redis.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function drop(client)
    redis.call('ZREM', KEYS[1], client)
    redis.call('HDEL', KEYS[2], client)
    local user = redis.call('HGET', KEYS[3], client)
    if user then
        redis.call('HDEL', KEYS[3], client)
        if redis.call('HINCRBY', KEYS[4], user, -1) <= 0 then
            redis.call('HDEL', KEYS[4], user)
        end
    end
end

-- Drops some of those that have expired, and returns their number.
local function expire(most)
    local gone = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now(), 'LIMIT', 0, most)
    for _, client in ipairs(gone) do
        drop(client)
    end
    return #gone
end

-- Drops all that have expired. Where a key was evicted and others were not, what is only in one of them goes, too:
-- nothing would end an entry without an expiration. A refresh brings it back.
local function tidy()
    while expire(1000) > 0 do end
    if redis.call('HLEN', KEYS[2]) ~= redis.call('ZCARD', KEYS[1]) then
        for _, client in ipairs(redis.call('HKEYS', KEYS[2])) do
            if not redis.call('ZSCORE', KEYS[1], client) then
                drop(client)
            end
        end
        for _, client in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
            if redis.call('HEXISTS', KEYS[2], client) == 0 then
                drop(client)
            end
        end
    end
end

-- Counts the users again where an eviction has taken one of the two keys about them.
local function count_users()
    if redis.call('EXISTS', KEYS[3]) ~= redis.call('EXISTS', KEYS[4]) then
        redis.call('DEL', KEYS[4])
        for _, user in ipairs(redis.call('HVALS', KEYS[3])) do
            redis.call('HINCRBY', KEYS[4], user, 1)
        end
    end
end
