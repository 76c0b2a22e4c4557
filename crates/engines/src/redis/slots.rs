//! Hash slots of Redis Cluster, and who serves them.

use super::config::Endpoint;
use super::connection::text;
use redis::Value;
use std::sync::Arc;

/// Number of hash slots.
pub(crate) const SLOTS: u16 = 16_384;

/// The slot of a key: CRC16 (XMODEM) of its hash tag, which is the text between the first `{` and the first `}` after it
/// unless that is empty, or else of the whole key.
pub(crate) fn slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = key.get(open + 1..)?;
        let length = rest.iter().position(|byte| *byte == b'}')?;
        rest.get(..length).filter(|tag| !tag.is_empty())
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

const fn crc16(bytes: &[u8]) -> u16 {
    let (mut crc, mut at) = (0_u16, 0);
    while at < bytes.len() {
        crc ^= (bytes[at] as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
            bit += 1;
        }
        at += 1;
    }
    crc
}

/// The primary of each slot.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SlotMap {
    endpoints: Vec<Endpoint>,
    /// Indexes of `endpoints`, by slot.
    owners: Box<[u16]>,
}

/// No primary is known.
const NOBODY: u16 = u16::MAX;

impl Default for SlotMap {
    fn default() -> Self {
        Self { endpoints: Vec::new(), owners: vec![NOBODY; usize::from(SLOTS)].into() }
    }
}

impl SlotMap {
    /// The primary of a slot.
    pub(crate) fn owner(&self, slot: u16) -> Option<&Endpoint> {
        let owner = self.owners.get(usize::from(slot))?;
        self.endpoints.get(usize::from(*owner))
    }

    /// All primaries.
    pub(crate) fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Sets the primary of a slot.
    pub(crate) fn set(&mut self, slot: u16, endpoint: &Endpoint) {
        let known = self.endpoints.iter().position(|one| one == endpoint);
        let owner = known.unwrap_or_else(|| {
            self.endpoints.push(endpoint.clone());
            self.endpoints.len() - 1
        });
        if let (Ok(owner), Some(place)) = (u16::try_from(owner), self.owners.get_mut(usize::from(slot))) {
            *place = owner;
        }
    }

    /// Reads the answer to `CLUSTER SLOTS` of a node. A node that does not know its own address leaves it empty.
    pub(crate) fn read(answer: &Value, from: &Endpoint) -> Option<Self> {
        let Value::Array(ranges) = answer else { return None };
        let mut owned = Vec::with_capacity(ranges.len());
        for range in ranges {
            let Value::Array(range) = range else { return None };
            let [Value::Int(first), Value::Int(last), Value::Array(node), ..] = &**range else { return None };
            let (first, last) = (u16::try_from(*first).ok()?, u16::try_from(*last).ok()?);
            let [host, Value::Int(port), ..] = &**node else { return None };
            let host = text(host).filter(|host| !host.is_empty() && host != "?");
            owned.push((first, last, endpoint(host.as_deref(), u16::try_from(*port).ok()?, from)?));
        }
        // In the order of slots, so that maps of the same content are equal.
        owned.sort_unstable();
        let mut map = Self::default();
        for (first, last, endpoint) in owned {
            for slot in first..=last.min(SLOTS - 1) {
                map.set(slot, &endpoint);
            }
        }
        (!map.endpoints.is_empty()).then_some(map)
    }
}

fn endpoint(host: Option<&str>, port: u16, from: &Endpoint) -> Option<Endpoint> {
    let host = match (host, from) {
        (Some(host), _) => Arc::from(host),
        (None, Endpoint::Tcp(host, _)) => Arc::clone(host),
        (None, Endpoint::Unix(_)) => return None,
    };
    Some(Endpoint::Tcp(host, port))
}

/// Reads the detail of `MOVED` and `ASK`: `3999 127.0.0.1:6381`.
pub(crate) fn redirection(detail: &str, from: &Endpoint) -> Option<(u16, Endpoint)> {
    let (slot, place) = detail.trim().split_once(' ')?;
    let (host, port) = place.rsplit_once(':')?;
    let host = Some(host).filter(|host| !host.is_empty() && *host != "?");
    Some((slot.parse().ok()?, endpoint(host, port.parse().ok()?, from)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        // Examples of the Redis Cluster specification, and of `CLUSTER KEYSLOT` of Redis 7.0.
        assert_eq!(crc16(b"123456789"), 0x31C3);
        for (key, right) in
            [("foo", 12182), ("somekey", 11058), ("foo{hash_tag}", 2515), ("bar{hash_tag}", 2515)]
        {
            assert_eq!(slot(key.as_bytes()), right, "{key}");
        }
        assert_eq!(slot(b"foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS, "an empty tag does not count");
        assert_eq!(slot(b"foo{{bar}}zap"), slot(b"{bar"));
        assert_eq!(slot(b"foo{bar}{zap}"), slot(b"bar"));
    }

    #[test]
    fn maps_are_read() {
        let bulk = |text: &str| Value::BulkString(text.into());
        let node = |host: &str, port| Value::Array(vec![bulk(host), Value::Int(port), bulk("id")]);
        let range = |first, last, node| Value::Array(vec![Value::Int(first), Value::Int(last), node]);
        let from = Endpoint::Tcp("seed".into(), 1);
        let answer = Value::Array(vec![range(0, 99, node("a", 7)), range(100, 16383, node("", 8))]);
        let mut map = SlotMap::read(&answer, &from).unwrap();
        let (a, seed) = (Endpoint::Tcp("a".into(), 7), Endpoint::Tcp("seed".into(), 8));
        assert_eq!((map.owner(99), map.owner(100)), (Some(&a), Some(&seed)));
        map.set(99, &seed);
        assert_eq!(map.owner(99), Some(&seed));
        assert!(SlotMap::read(&Value::Nil, &from).is_none());
        assert_eq!(redirection("3999 ::1:6381", &from), Some((3999, Endpoint::Tcp("::1".into(), 6381))));
        assert_eq!(redirection("3999 :6381", &from), Some((3999, Endpoint::Tcp("seed".into(), 6381))));
        assert_eq!(redirection("what", &from), None);
    }
}
