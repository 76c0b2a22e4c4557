-- Extends the life of entries, and returns the positions of those that have to be added, from 0.
-- KEYS: entries, users of clients (hashes)
-- ARGV: time to live in ms, 1 to keep users, then clients
local missing = {}
for i = 3, #ARGV do
    local client = ARGV[i]
    local kept = redis.call('HPEXPIRE', KEYS[1], ARGV[1], 'FIELDS', 1, client)[1] == 1
    if kept and ARGV[2] == '1' then
        kept = redis.call('HPEXPIRE', KEYS[2], ARGV[1], 'FIELDS', 1, client)[1] == 1
    end
    if not kept then
        missing[#missing + 1] = i - 3
    end
end
return missing
