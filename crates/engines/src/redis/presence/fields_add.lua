-- Adds clients, or replaces their entries.
-- KEYS: entries, users of clients (hashes)
-- ARGV: time to live in ms, 1 to keep users, then client, user and entry of each
-- Fails before anything is written where the server does not know the command.
redis.call('HPEXPIRE', KEYS[1], ARGV[1], 'FIELDS', 1, ARGV[3])
for i = 3, #ARGV, 3 do
    local client, user, entry = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    redis.call('HSET', KEYS[1], client, entry)
    redis.call('HPEXPIRE', KEYS[1], ARGV[1], 'FIELDS', 1, client)
    if ARGV[2] == '1' then
        redis.call('HSET', KEYS[2], client, user)
        redis.call('HPEXPIRE', KEYS[2], ARGV[1], 'FIELDS', 1, client)
    end
end
return redis.status_reply('OK')
