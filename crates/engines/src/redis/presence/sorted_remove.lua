-- Removes clients.
-- ARGV: clients
for _, client in ipairs(ARGV) do
    drop(client)
end
return redis.status_reply('OK')
