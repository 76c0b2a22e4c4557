//! Kinds of subscriptions and encodings of deltas, as commands name them.

use serde::Deserialize;

/// Kind of a subscription or of a channel, the `type` of a command. The numbers are those of Centrifugo's client
/// protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SubscriptionType {
    /// A stream of publications.
    #[default]
    #[serde(alias = "")]
    Stream,
    /// A synchronised collection of keys and values.
    Map,
    /// The clients of a channel as a collection.
    MapClients,
    /// The users of a channel as a collection.
    MapUsers,
    /// Keys that the backend is polled for.
    SharedPoll,
    /// A number that this version does not know.
    #[serde(skip)]
    Unknown(i32),
}

impl SubscriptionType {
    /// Returns the kind with this number. Negative numbers mean a stream, as in Centrifugo v6.9.
    #[must_use]
    pub const fn from_number(number: i32) -> Self {
        match number {
            ..=0 => Self::Stream,
            1 => Self::Map,
            2 => Self::MapClients,
            3 => Self::MapUsers,
            4 => Self::SharedPoll,
            _ => Self::Unknown(number),
        }
    }

    /// Returns the number of this kind.
    #[must_use]
    pub const fn number(self) -> i32 {
        match self {
            Self::Stream => 0,
            Self::Map => 1,
            Self::MapClients => 2,
            Self::MapUsers => 3,
            Self::SharedPoll => 4,
            Self::Unknown(number) => number,
        }
    }
}

/// Encoding of deltas, the `delta` of a subscribe command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeltaType {
    /// The delta format of the Fossil version control system.
    Fossil,
    /// An encoding that this version does not know.
    #[serde(skip)]
    Unknown,
}

impl DeltaType {
    /// Returns the encoding with this name, or `None` for the empty name, which asks for no deltas.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "" => None,
            "fossil" => Some(Self::Fossil),
            _ => Some(Self::Unknown),
        }
    }

    /// Returns the name of the encoding; that of an unknown one is not kept.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fossil => "fossil",
            Self::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_kinds_correspond() {
        for number in 0..=6 {
            assert_eq!(SubscriptionType::from_number(number).number(), number);
        }
        assert_eq!(SubscriptionType::from_number(-1), SubscriptionType::Stream);
        assert_eq!(SubscriptionType::from_number(5), SubscriptionType::Unknown(5));
    }

    #[test]
    fn only_the_empty_name_asks_for_no_deltas() {
        assert_eq!(DeltaType::from_name(""), None);
        assert_eq!(DeltaType::from_name("fossil"), Some(DeltaType::Fossil));
        assert_eq!(DeltaType::from_name("Fossil"), Some(DeltaType::Unknown));
        assert_eq!(DeltaType::Fossil.name(), "fossil");
    }
}
