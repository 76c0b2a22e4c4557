-- Returns the number of clients and that of users; -1 where users were not kept for every client.
tidy()
count_users()
local clients = redis.call('ZCARD', KEYS[1])
if redis.call('HLEN', KEYS[3]) ~= clients then
    return { clients, -1 }
end
return { clients, redis.call('HLEN', KEYS[4]) }
