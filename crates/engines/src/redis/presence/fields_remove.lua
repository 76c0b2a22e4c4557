-- Removes clients.
-- KEYS: entries, users of clients (hashes)
-- ARGV: clients
for _, client in ipairs(ARGV) do
    redis.call('HDEL', KEYS[1], client)
    redis.call('HDEL', KEYS[2], client)
end
return redis.status_reply('OK')
