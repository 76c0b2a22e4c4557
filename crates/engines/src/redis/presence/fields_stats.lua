-- Returns the number of clients and that of users; -1 where users were not kept for every client.
-- KEYS: entries, users of clients (hashes)
-- The length of a hash counts fields that have expired, and their names do not.
local clients = #redis.call('HKEYS', KEYS[1])
local users, seen = 0, {}
local kept = redis.call('HVALS', KEYS[2])
for _, user in ipairs(kept) do
    if not seen[user] then
        seen[user] = true
        users = users + 1
    end
end
if #kept ~= clients then
    return { clients, -1 }
end
return { clients, users }
