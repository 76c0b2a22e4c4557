//! Selection of the connections that an operation applies to.

use crate::identity::Identity;
use crate::publication::Tags;
use spinward_wire::filter::{Filter, FilterError};
use spinward_wire::message::FilterNode;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Selects connections of a user, or of all users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFilter {
    /// Only the connection with this id.
    pub client: Option<String>,
    /// Not the connections with these ids.
    pub except: Vec<String>,
    /// Only connections with such labels.
    pub labels: Option<LabelFilter>,
    /// Connections of all users. The user that is named beside the filter does not count then.
    pub all_users: bool,
}

impl ClientFilter {
    /// Returns true if it leaves out some connections of the user, or of all users.
    pub(crate) fn narrows(&self) -> bool {
        self.client.is_some() || !self.except.is_empty() || self.labels.is_some()
    }

    /// Returns true if a connection is selected. Its user is not looked at.
    pub(crate) fn selects(&self, identity: &Identity) -> bool {
        if self.labels.as_ref().is_some_and(|labels| !labels.matches(identity)) {
            return false;
        }
        if self.client.is_none() && self.except.is_empty() {
            return true;
        }
        let id = identity.id.to_string();
        self.client.as_ref().is_none_or(|client| *client == id) && !self.except.contains(&id)
    }
}

/// A valid filter over the labels of connections, with the operators of the tags filter. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LabelFilter(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    /// As it was written, for other nodes.
    node: FilterNode,
    filter: Filter,
}

impl LabelFilter {
    /// Checks and compiles a filter.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn new(node: FilterNode) -> Result<Self, FilterError> {
        let filter = Filter::compile(&node)?;
        Ok(Self(Arc::new(Compiled { node, filter })))
    }

    /// The filter as it was written.
    #[must_use]
    pub fn node(&self) -> &FilterNode {
        &self.0.node
    }

    /// Returns true if the labels of a connection pass. Without labels, it is as if each were missing.
    #[must_use]
    pub fn matches(&self, identity: &Identity) -> bool {
        static NONE: Tags = BTreeMap::new();
        self.0.filter.matches(identity.labels.as_deref().unwrap_or(&NONE))
    }
}

/// Filters that mean the same are equal.
impl PartialEq for LabelFilter {
    fn eq(&self, other: &Self) -> bool {
        self.0.filter == other.0.filter
    }
}

impl Eq for LabelFilter {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ClientId;

    fn labelled(labels: &[(&str, &str)]) -> Identity {
        let labels: Tags =
            labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let labels = (!labels.is_empty()).then(|| Arc::new(labels));
        Identity { labels, ..Identity::new(ClientId::from_random([7; 16]), "u") }
    }

    fn compare(key: &str, cmp: &str, val: &str) -> LabelFilter {
        let node = FilterNode { key: key.into(), cmp: cmp.into(), val: val.into(), ..FilterNode::default() };
        LabelFilter::new(node).unwrap()
    }

    #[test]
    fn every_condition_counts() {
        let (free, paid) = (labelled(&[("plan", "free")]), labelled(&[("plan", "paid")]));
        let mut filter = ClientFilter::default();
        assert!(!filter.narrows() && filter.selects(&free));
        filter.labels = Some(compare("plan", "eq", "free"));
        assert!(filter.narrows() && filter.selects(&free) && !filter.selects(&paid));
        filter.except = vec![free.id.to_string()];
        assert!(!filter.selects(&free));
        let one = |client: &str| ClientFilter { client: Some(client.into()), ..ClientFilter::default() };
        assert!(one(&free.id.to_string()).selects(&free) && !one("x").selects(&free));
        assert!(!ClientFilter { all_users: true, ..ClientFilter::default() }.narrows());
    }

    #[test]
    fn a_connection_without_labels_lacks_each() {
        let none = labelled(&[]);
        assert!(!compare("plan", "eq", "free").matches(&none));
        assert!(compare("plan", "nex", "").matches(&none) && compare("plan", "neq", "free").matches(&none));
    }
}
