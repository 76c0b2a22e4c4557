//! Calls: scripts and commands, and what they answer.

use super::lives::Lives;
use bytes::Bytes;
use redis::{Cmd, Value, cmd};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// A Lua script. Servers are asked for it by its hash, and given it if they do not know it.
pub(crate) struct Script {
    source: String,
    hash: String,
}

impl Script {
    /// A script of these parts, one after the other.
    pub(crate) fn new(parts: &[&str]) -> Self {
        let source = parts.concat();
        let hash = redis::Script::new(&source).get_hash().to_owned();
        Self { source, hash }
    }
}

/// A call to the server of a key.
pub(crate) struct Call {
    /// The key that decides on the hash slot, if the call goes to a cluster.
    key: Bytes,
    what: What,
    /// Number of replicas to wait for, and milliseconds.
    wait: Option<(u32, u64)>,
}

enum What {
    Script { script: &'static Script, keys: Vec<Bytes>, args: Vec<Bytes> },
    Command(Cmd),
}

impl Call {
    /// A script. Its keys are of one hash slot; the first one decides on it.
    pub(crate) fn script(script: &'static Script, keys: Vec<Bytes>, args: Vec<Bytes>) -> Self {
        let key = keys.first().cloned().unwrap_or_default();
        Self { key, what: What::Script { script, keys, args }, wait: None }
    }

    /// A command for the server of a key.
    pub(crate) const fn command(key: Bytes, command: Cmd) -> Self {
        Self { key, what: What::Command(command), wait: None }
    }

    /// Waits for replicas after the call. To be used on connections that do nothing else: all that follows waits too.
    pub(crate) fn waiting(self, replicas: u32, time: Duration) -> Self {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
        Self { wait: (replicas > 0).then_some((replicas, millis)), ..self }
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The command to send, if there is only one. Arguments as of [`Self::to_send`].
    pub(crate) fn alone(&self, whole: bool, asking: bool) -> Option<Cow<'_, Cmd>> {
        (self.wait.is_none() && !asking).then(|| self.main(whole))
    }

    /// The commands to send, and the place of the answer among theirs. `whole`: with the text of the script, not its
    /// hash. `asking`: the hash slot is on its way to the node.
    pub(crate) fn to_send(&self, whole: bool, asking: bool) -> (Vec<Cmd>, usize) {
        let wait = self.wait.map(|(replicas, millis)| {
            let mut wait = cmd("WAIT");
            wait.arg(replicas).arg(millis);
            wait
        });
        let commands =
            asking.then(|| cmd("ASKING")).into_iter().chain([self.main(whole).into_owned()]).chain(wait);
        (commands.collect(), usize::from(asking))
    }

    fn main(&self, whole: bool) -> Cow<'_, Cmd> {
        match &self.what {
            What::Command(command) => Cow::Borrowed(command),
            What::Script { script, keys, args } => {
                let (name, text) = if whole { ("EVAL", &script.source) } else { ("EVALSHA", &script.hash) };
                let parts = || keys.iter().chain(args);
                // The number of keys is a digit.
                let bytes = name.len() + text.len() + 1 + parts().map(Bytes::len).sum::<usize>();
                let mut command = Cmd::with_capacity(3 + keys.len() + args.len(), bytes);
                command.arg(name).arg(text).arg(keys.len());
                for part in parts() {
                    command.arg(&**part);
                }
                Cow::Owned(command)
            }
        }
    }
}

/// The answer to a call.
pub(crate) struct Reply {
    pub(crate) value: Value,
    /// Number of replicas that had the effect of the call, if it waited for them.
    pub(crate) replicas: Option<u32>,
    /// The lives of the server that answered. An answer that names its incarnation is noted there before it is used.
    pub(crate) lives: Arc<Lives>,
}
