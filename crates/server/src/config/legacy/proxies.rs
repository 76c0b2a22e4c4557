//! `granular_proxy_mode`: proxies were named where they are used, as in v6.

use super::{Translation, becomes};
use crate::config::env::at;
use serde_json::{Map, Value};

/// Returns true for keys of the proxies without a name, which this mode did not use.
pub(super) fn is_of_defaults(name: &str) -> bool {
    name.starts_with("proxy_") && becomes::channel(name).is_none()
}

impl Translation<'_, '_> {
    /// Proxies that the top of the file names. v6 names the one for RPC calls, and has those for connects and refreshes
    /// written out.
    pub(super) fn named_at_top(&mut self) {
        for (key, path, name) in std::mem::take(&mut self.named) {
            let Some(text) = name.as_str().filter(|name| !name.is_empty()) else {
                self.report.note(&key, "is empty, and names no proxy");
                continue;
            };
            if path == "rpc.without_namespace" {
                self.report.note(&key, format!("an old name: since v6 it is called `{path}.proxy_name`"));
                self.set(&key, &format!("{path}.proxy_name"), name);
                self.set(&key, &format!("{path}.proxy_enabled"), Value::Bool(true));
                continue;
            }
            let Some(proxy) = self.proxy(text) else {
                self.report.problem(&key, format!("there is no proxy {text:?} in `proxies`"));
                continue;
            };
            self.report.note(&key, format!("since v6 this proxy is written to `{path}`"));
            for (option, value) in proxy.into_iter().filter(|(option, _)| option != "name") {
                self.set(&key, &format!("{path}.{option}"), value);
            }
            self.set(&key, &format!("{path}.enabled"), Value::Bool(true));
        }
    }

    /// A proxy of the list, in v6 form.
    fn proxy(&mut self, name: &str) -> Option<Map<String, Value>> {
        let proxies = at(&mut self.tree, "proxies")?.as_array()?;
        let found = proxies.iter().find(|proxy| proxy.get("name").is_some_and(|found| found == name))?;
        found.as_object().cloned()
    }
}
