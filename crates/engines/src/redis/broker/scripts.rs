//! The scripts of the broker, and the parts of messages and answers that they make.
//!
//! Each names the replication history of the server that runs it, in the answer and in what it sends to subscribers:
//! nothing else can tell, without a doubt, which life of the store an offset is of.

use super::super::script::Script;
use std::sync::LazyLock;

/// `life`: the id of the replication history. Before Redis 7, a script that asks for it may write only in this mode,
/// which is the only one since.
const LIFE: &str = r"
if redis.replicate_commands then redis.replicate_commands() end
local life = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)') or ''
";

/// `meta`: epoch, offset, version, epoch of the version. Makes the stream if it does not exist. Publications without
/// meta (which an eviction can leave) are of a stream that is over.
///
/// A server without memory refuses a script at its first write, unless that is one that needs no memory; then it lets
/// all others pass. So the first write of each script is one that takes memory.
const META: &str = r"
local meta = redis.call('HMGET', KEYS[2], 'e', 's', 'v', 'w')
if not meta[1] then
  redis.call('HSET', KEYS[2], 'e', ARGV[1], 's', '0')
  redis.call('HDEL', KEYS[2], 'v', 'w')
  redis.call('DEL', KEYS[1])
  meta = {ARGV[1], '0', false, false}
end
local epoch, top = meta[1], meta[2] or '0'
";

/// Prolongs offset and epoch.
const TOUCH: &str = r"
redis.call('PEXPIRE', KEYS[2], ARGV[2])
";

/// KEYS: publications, meta, result (if there is an idempotency key).
/// ARGV: 1 epoch of a stream that is made, 2 lifetime of meta, 3 publication, 4 size, 5 lifetime of publications,
/// 6 command to send with, 7 Pub/Sub channel, 8 version, 9 epoch of the version, 10 lifetime of the result.
/// Times are in milliseconds. Versions are compared as decimal text: numbers of Lua are exact to 2^53 alone.
const PUBLISH: (&str, &str) = (
    r"
if KEYS[3] then
  local known = redis.call('GET', KEYS[3])
  if known then return {life, 'k', known} end
end
",
    r"
if ARGV[8] ~= '0' then
  local last = meta[3]
  if last and (ARGV[9] == '' or ARGV[9] == meta[4])
    and (#ARGV[8] < #last or (#ARGV[8] == #last and ARGV[8] <= last)) then
    redis.call('PEXPIRE', KEYS[1], ARGV[5])
    redis.call('PEXPIRE', KEYS[2], ARGV[2])
    return {life, 'v', epoch, top}
  end
  redis.call('HSET', KEYS[2], 'v', ARGV[8], 'w', ARGV[9])
end
local place = string.format('%.0f', redis.call('HINCRBY', KEYS[2], 's', 1))
if ARGV[8] == '0' and meta[3] then redis.call('HDEL', KEYS[2], 'v', 'w') end
",
);

/// Keeps it in a stream, whose ids are the offsets.
const TO_STREAM: &str = r"
redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[4], place .. '-0', 'd', ARGV[3])
";

/// Keeps it in a list, newest first. The first one has the offset of the top.
const TO_LIST: &str = r"
redis.call('LPUSH', KEYS[1], ARGV[3])
redis.call('LTRIM', KEYS[1], 0, string.format('%.0f', ARGV[4] - 1))
";

const SEND: &str = r"
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call(ARGV[6], ARGV[7], 's' .. life .. ':' .. epoch .. ':' .. place .. ':' .. ARGV[3])
if KEYS[3] then redis.call('SET', KEYS[3], life .. ':' .. epoch .. ':' .. place, 'PX', ARGV[10]) end
return {life, 's', epoch, place}
";

/// KEYS: result. ARGV: 1 message, 2 command to send with, 3 Pub/Sub channel, 4 lifetime of the result.
const ONCE: &str = r"
local known = redis.call('GET', KEYS[1])
if known then return {life, 'k', known} end
redis.call('SET', KEYS[1], '-', 'PX', ARGV[4])
redis.call(ARGV[2], ARGV[3], ARGV[1])
return {life, 'u'}
";

/// KEYS: publications, meta. ARGV: 1 and 2 as above, 3 epoch that is asked for or nothing, 4 direction, 5 first offset,
/// 6 most publications.
const READ: &str = r"
if ARGV[3] ~= '' and ARGV[3] ~= epoch then return {life, 'e', epoch, top} end
if ARGV[4] == 't' then return {life, 'r', epoch, top} end
";

const FROM_STREAM: &str = r"
if ARGV[4] == 'f' then
  return {life, 'r', epoch, top, redis.call('XRANGE', KEYS[1], ARGV[5], '+', 'COUNT', ARGV[6])}
end
return {life, 'r', epoch, top, redis.call('XREVRANGE', KEYS[1], ARGV[5], '-', 'COUNT', ARGV[6])}
";

/// The answer has the offset of the first one returned, then all of them, newest first.
const FROM_LIST: &str = r"
local newest = tonumber(top)
local oldest = newest - redis.call('LLEN', KEYS[1]) + 1
local from, to = tonumber(ARGV[5]), tonumber(ARGV[5])
if ARGV[4] == 'f' then
  from = math.max(from, oldest)
  to = math.min(from + ARGV[6] - 1, newest)
else
  to = math.min(to, newest)
  from = math.max(to - ARGV[6] + 1, oldest)
end
if from > to then return {life, 'r', epoch, top} end
local text = function(number) return string.format('%.0f', number) end
local found = redis.call('LRANGE', KEYS[1], text(newest - to), text(newest - from))
return {life, 'r', epoch, top, text(to), found}
";

/// Largest number that the scripts compute with.
pub(super) const MOST: u64 = 1 << 53;

/// The scripts of one way to keep publications.
pub(super) struct Scripts {
    pub(super) publish: Script,
    pub(super) read: Script,
}

pub(super) static STREAMS: LazyLock<Scripts> = LazyLock::new(|| scripts("stream", TO_STREAM, FROM_STREAM));

pub(super) static LISTS: LazyLock<Scripts> = LazyLock::new(|| scripts("list", TO_LIST, FROM_LIST));

/// The same for the keys of Centrifugo v6, whose nodes read and write them beside ours.
const SHARED_META: &str = r"
local meta = redis.call('HMGET', KEYS[2], 'e', 's', 'v', 've')
if not meta[1] then
  redis.call('HSET', KEYS[2], 'e', ARGV[1])
  redis.call('DEL', KEYS[1])
  meta = {ARGV[1], '0', false, false}
end
local epoch, top = meta[1], meta[2] or '0'
";

/// ARGV: as above, 11 `1` for a publication that deltas are made for.
const SHARED_PUBLISH: (&str, &str) = (
    r"
if KEYS[3] then
  local known = redis.call('HMGET', KEYS[3], 'e', 's')
  if known[1] == '' then return {life, 'k', '-'} end
  if known[1] then return {life, 'k', ':' .. known[1] .. ':' .. known[2]} end
end
",
    r"
if ARGV[8] ~= '0' then
  local last = meta[3]
  if last and (ARGV[9] == '' or ARGV[9] == meta[4])
    and (#ARGV[8] < #last or (#ARGV[8] == #last and ARGV[8] <= last)) then
    return {life, 'v', epoch, top}
  end
  redis.call('HSET', KEYS[2], 'v', ARGV[8], 've', ARGV[9])
end
local place = string.format('%.0f', redis.call('HINCRBY', KEYS[2], 's', 1))
local message = '__p1:' .. place .. ':' .. epoch .. '__' .. ARGV[3]
",
);

const SHARED_TO_STREAM: &str = r"
if ARGV[11] == '1' then
  local last, before = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1], ''
  if last then before = last[2][2] end
  message = '__d1:' .. place .. ':' .. epoch .. ':' .. #before .. ':' .. before .. ':' .. #ARGV[3] .. ':' .. ARGV[3]
end
redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[4], place .. '-0', 'd', ARGV[3])
";

/// Without the form for deltas: nodes of Centrifugo v6.9 do not deliver it from lists.
const SHARED_TO_LIST: &str = r"
redis.call('LPUSH', KEYS[1], message)
redis.call('LTRIM', KEYS[1], 0, string.format('%.0f', ARGV[4] - 1))
";

const SHARED_SEND: &str = r"
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call(ARGV[6], ARGV[7], message)
if KEYS[3] then
  redis.call('HSET', KEYS[3], 'e', epoch, 's', place)
  redis.call('PEXPIRE', KEYS[3], ARGV[10])
end
return {life, 's', epoch, place}
";

const SHARED_ONCE: &str = r"
local known = redis.call('HMGET', KEYS[1], 'e', 's')
if known[1] and known[1] ~= '' then return {life, 'k', ':' .. known[1] .. ':' .. known[2]} end
if known[1] then return {life, 'k', '-'} end
redis.call('HSET', KEYS[1], 'e', '')
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call(ARGV[2], ARGV[3], ARGV[1])
return {life, 'u'}
";

pub(super) static SHARED_STREAMS: LazyLock<Scripts> =
    LazyLock::new(|| shared("stream", SHARED_TO_STREAM, FROM_STREAM));

pub(super) static SHARED_LISTS: LazyLock<Scripts> =
    LazyLock::new(|| shared("list", SHARED_TO_LIST, FROM_LIST));

fn shared(kind: &str, keep: &str, find: &str) -> Scripts {
    let (known, place) = SHARED_PUBLISH;
    let publish =
        ["-- spinward publish shared 1 ", kind, LIFE, known, SHARED_META, place, TOUCH, keep, SHARED_SEND];
    Scripts {
        publish: Script::new(&publish),
        read: Script::new(&["-- spinward read shared 1 ", kind, LIFE, SHARED_META, TOUCH, READ, find]),
    }
}

pub(super) static SHARED_SEND_ONCE: LazyLock<Script> =
    LazyLock::new(|| Script::new(&["-- spinward send once shared 1", LIFE, SHARED_ONCE]));

fn scripts(kind: &str, keep: &str, find: &str) -> Scripts {
    let publish = ["-- spinward publish 1 ", kind, LIFE, PUBLISH.0, META, PUBLISH.1, TOUCH, keep, SEND];
    Scripts {
        publish: Script::new(&publish),
        read: Script::new(&["-- spinward read 1 ", kind, LIFE, META, TOUCH, READ, find]),
    }
}

pub(super) static SEND_ONCE: LazyLock<Script> =
    LazyLock::new(|| Script::new(&["-- spinward send once 1", LIFE, ONCE]));
