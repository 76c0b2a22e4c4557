//! Pages of connections, in the order of their ids, over all nodes of a cluster.
//!
//! An id says nothing about its connection and never changes. So a connection that lasts while somebody turns the pages
//! is on exactly one of them, on whichever node it is, and no node keeps anything between two pages.

use super::neighbours::{CONNECTIONS, SURVEY_TIMEOUT};
use parking_lot::Mutex;
use prost::Message;
use spinward::Node;
use spinward::cluster::LabelFilter;
use spinward::enforce::{Judge, Verdict};
use spinward::id::NodeId;
use spinward::identity::Identity;
use spinward::publication::Tags;
use spinward::wire::Protocol;
use spinward::wire::message::FilterNode;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most connections of a page.
const MAX_LIMIT: u32 = 1_000;

/// Most bytes that the page of a node takes, so that it fits a message between nodes.
const MAX_BYTES: usize = 512 * 1024;

/// Bytes that an entry takes beside its texts, roughly.
const ENTRY_BYTES: usize = 64;

/// A question for a page.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Query {
    /// Only connections of this user.
    #[prost(string, optional, tag = "1")]
    user: Option<String>,
    /// Only connections with such labels.
    #[prost(message, optional, tag = "2")]
    labels: Option<FilterNode>,
    /// The page begins after this id.
    #[prost(string, tag = "3")]
    after: String,
    #[prost(uint32, tag = "4")]
    limit: u32,
}

/// A page.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Page {
    /// Connections in the order of their ids.
    #[prost(message, repeated, tag = "1")]
    pub(super) entries: Vec<Entry>,
    /// There are more behind the last of them.
    #[prost(bool, tag = "2")]
    more: bool,
}

/// A connection.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Entry {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(string, tag = "2")]
    pub(super) user: String,
    #[prost(string, tag = "3")]
    pub(super) app_name: String,
    #[prost(string, tag = "4")]
    pub(super) app_version: String,
    #[prost(string, tag = "5")]
    pub(super) transport: String,
    #[prost(string, tag = "6")]
    pub(super) protocol: String,
    #[prost(btree_map = "string, string", tag = "7")]
    pub(super) labels: Tags,
    /// The node that holds it. The node that was asked says which that is.
    #[prost(string, tag = "8")]
    pub(super) node: String,
}

impl Query {
    /// A question for the connections of a user, or of all users if it is empty. A limit of 0 stands for the highest.
    pub(super) fn new(user: String, labels: Option<&LabelFilter>, after: String, limit: u32) -> Self {
        Self {
            user: (!user.is_empty()).then_some(user),
            labels: labels.map(|labels| labels.node().clone()),
            after,
            limit: if limit == 0 { MAX_LIMIT } else { limit.min(MAX_LIMIT) },
        }
    }
}

impl Page {
    /// The end of the page, if another one follows.
    pub(super) fn cursor(&self) -> Option<&str> {
        self.entries.last().filter(|_| self.more).map(|last| &*last.id)
    }

    /// One page of the pages of several nodes. Where a page ends early, nothing is known of what comes after it on that
    /// node, and the whole ends there too.
    fn merged(pages: Vec<Self>, limit: u32) -> Self {
        let ends = pages.iter().filter_map(Self::cursor);
        let end = ends.min().map(str::to_owned);
        let mut entries: Vec<Entry> = pages.into_iter().flat_map(|page| page.entries).collect();
        entries.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        if let Some(end) = &end {
            entries.retain(|entry| entry.id <= *end);
        }
        let more = end.is_some() || entries.len() > limit as usize;
        entries.truncate(limit as usize);
        Self { entries, more }
    }
}

/// The first connections after a cursor, of those that come in any order.
struct Collector {
    query: Query,
    entries: BTreeMap<String, Entry>,
    bytes: usize,
    /// The first id that there was no room for.
    end: Option<String>,
}

impl Collector {
    fn new(query: Query) -> Self {
        Self { query, entries: BTreeMap::new(), bytes: 0, end: None }
    }

    fn visit(&mut self, identity: &Identity) {
        let id = identity.id.to_string();
        if id <= self.query.after || self.end.as_ref().is_some_and(|end| id >= *end) {
            return;
        }
        let entry = Entry::of(id.clone(), identity);
        self.bytes += entry.weight();
        self.entries.insert(id, entry);
        let full = |this: &Self| {
            this.entries.len() > this.query.limit as usize || this.bytes > MAX_BYTES && this.entries.len() > 1
        };
        while full(self)
            && let Some((id, entry)) = self.entries.pop_last()
        {
            self.bytes -= entry.weight();
            self.end = Some(id);
        }
    }

    fn page(&mut self) -> Page {
        let entries = std::mem::take(&mut self.entries).into_values().collect();
        Page { entries, more: self.end.is_some() }
    }
}

impl Entry {
    fn of(id: String, identity: &Identity) -> Self {
        let application = identity.application.as_deref();
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let protocol = match identity.protocol {
            Protocol::Json => "json",
            Protocol::Protobuf => "protobuf",
        };
        Self {
            id,
            user: identity.user.to_string(),
            app_name: text(application.map(|application| &*application.name)),
            app_version: text(application.map(|application| &*application.version)),
            transport: identity.transport.name().to_owned(),
            protocol: protocol.to_owned(),
            labels: identity.labels.as_deref().cloned().unwrap_or_default(),
            node: String::new(),
        }
    }

    fn weight(&self) -> usize {
        let labels: usize = self.labels.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
        ENTRY_BYTES + self.id.len() + self.user.len() + self.app_name.len() + self.app_version.len() + labels
    }
}

/// A page of the connections of this node. `None`: the filter cannot be read.
pub(super) async fn of_this_node(node: &Node, query: Query) -> Option<Page> {
    let filter = query.labels.clone().map(LabelFilter::new).transpose().ok()?;
    let user = query.user.clone();
    let collector = Arc::new(Mutex::new(Collector::new(query)));
    let collecting = Arc::clone(&collector);
    let judge = Judge::new(move |identity| {
        if filter.as_ref().is_none_or(|filter| filter.matches(identity)) {
            collecting.lock().visit(identity);
        }
        Verdict::Keep
    });
    node.enforce(user.as_deref(), &judge).await;
    let page = collector.lock().page();
    Some(page)
}

/// A page of the connections of all nodes, and the nodes whose connections are missing.
pub(super) async fn of_all_nodes(node: &Node, query: Query) -> (Page, Vec<NodeId>) {
    let limit = query.limit;
    let told = |mut page: Page, of: NodeId| {
        page.entries.iter_mut().for_each(|entry| entry.node = of.to_string());
        page
    };
    if !node.is_clustered() {
        let page = of_this_node(node, query).await.unwrap_or_default();
        return (told(page, node.id()), Vec::new());
    }
    let survey = node.survey(CONNECTIONS, query.encode_to_vec().into(), SURVEY_TIMEOUT).await;
    let mut missing = survey.missing;
    missing.extend(survey.declined.iter().map(|(node, _)| *node));
    let mut pages = Vec::with_capacity(survey.answers.len());
    for (from, data) in survey.answers {
        match Page::decode(data) {
            Ok(page) => pages.push(told(page, from)),
            Err(_) => missing.push(from),
        }
    }
    (Page::merged(pages, limit), missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use spinward::id::ClientId;

    fn identity(number: u16, label: usize) -> Identity {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        let labels = Tags::from([("l".to_owned(), "x".repeat(label))]);
        let labels = (label > 0).then(|| Arc::new(labels));
        Identity { labels, ..Identity::new(ClientId::from_random(bytes), "u") }
    }

    fn page(of: &[Identity], after: &str, limit: u32) -> Page {
        let mut collector = Collector::new(Query::new(String::new(), None, after.to_owned(), limit));
        of.iter().for_each(|identity| collector.visit(identity));
        collector.page()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// However connections are spread over nodes, in whatever order they are visited, and however many bytes they
        /// take: each is on one page.
        #[test]
        fn each_connection_is_on_one_page(
            connections in vec((any::<u16>(), 0..3_usize, prop_oneof![Just(0_usize), Just(300_000)]), 0..60),
            limit in 1..20_u32,
        ) {
            let mut nodes: [Vec<Identity>; 3] = Default::default();
            let mut all = std::collections::BTreeSet::new();
            for (number, node, label) in connections {
                let identity = identity(number, label);
                if all.insert(identity.id.to_string()) {
                    nodes[node].push(identity);
                }
            }
            let (mut seen, mut after) = (Vec::new(), String::new());
            loop {
                let pages = nodes.iter().map(|node| page(node, &after, limit)).collect();
                let page = Page::merged(pages, limit);
                prop_assert!(page.entries.len() <= limit as usize);
                seen.extend(page.entries.iter().map(|entry| entry.id.clone()));
                match page.cursor() {
                    Some(cursor) => after = cursor.to_owned(),
                    None => break,
                }
            }
            prop_assert_eq!(seen, all.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_page_of_a_node_fits_a_message() {
        let many: Vec<Identity> = (0..1_000).map(|number| identity(number, 2_000)).collect();
        let page = page(&many, "", 0);
        assert!(page.more && page.entries.len() > 100, "{} entries", page.entries.len());
        assert!(
            page.encoded_len() < spinward::engine::controller::MAX_MESSAGE - 1_000,
            "{}",
            page.encoded_len()
        );
    }
}
