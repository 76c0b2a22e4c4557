//! The schema of the services, as much of it as reflection looks at.

use super::proto::DESCRIPTORS;
use bytes::Bytes;
use prost::Message;
use std::collections::HashMap;

/// `google.protobuf.FileDescriptorSet`, its files unread.
#[derive(Clone, PartialEq, Message)]
struct Set {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    files: Vec<Bytes>,
}

/// `google.protobuf.FileDescriptorProto`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct File {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) package: String,
    #[prost(message, repeated, tag = "4")]
    pub(crate) messages: Vec<Type>,
    #[prost(message, repeated, tag = "6")]
    pub(crate) services: Vec<Service>,
}

/// `google.protobuf.DescriptorProto`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Type {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, repeated, tag = "2")]
    pub(crate) fields: Vec<Field>,
    /// Entries of its maps.
    #[prost(message, repeated, tag = "3")]
    pub(crate) types: Vec<Self>,
    #[prost(message, repeated, tag = "4")]
    enums: Vec<Enum>,
}

/// `google.protobuf.FieldDescriptorProto`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Field {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(int32, tag = "3")]
    pub(crate) number: i32,
    /// 3 where it is a list.
    #[prost(int32, tag = "4")]
    pub(crate) label: i32,
    #[prost(int32, tag = "5")]
    pub(crate) kind: i32,
    /// The full name of its type, with a dot before it, where that is a message.
    #[prost(string, tag = "6")]
    pub(crate) message: String,
}

/// `google.protobuf.EnumDescriptorProto`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Enum {
    #[prost(string, tag = "1")]
    name: String,
}

/// `google.protobuf.ServiceDescriptorProto`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Service {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, repeated, tag = "2")]
    pub(crate) methods: Vec<Method>,
}

/// `google.protobuf.MethodDescriptorProto`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Method {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) input: String,
    #[prost(string, tag = "3")]
    pub(crate) output: String,
}

/// Returns the files, each with its bytes.
pub(crate) fn files() -> Vec<(File, Bytes)> {
    let set = Set::decode(DESCRIPTORS).unwrap_or_default();
    let read = |bytes: Bytes| (File::decode(bytes.clone()).unwrap_or_default(), bytes);
    set.files.into_iter().map(read).collect()
}

/// The files by their names, and by the full names of what they declare.
pub(super) struct Schema {
    by_name: HashMap<String, Bytes>,
    by_symbol: HashMap<String, Bytes>,
    /// The full names of all services.
    pub(super) services: Vec<String>,
}

impl Schema {
    pub(super) fn new() -> Self {
        let mut schema = Self { by_name: HashMap::new(), by_symbol: HashMap::new(), services: Vec::new() };
        for (file, bytes) in files() {
            for symbol in symbols(&file) {
                schema.by_symbol.insert(symbol, bytes.clone());
            }
            schema
                .services
                .extend(file.services.iter().map(|service| format!("{}.{}", file.package, service.name)));
            schema.by_name.insert(file.name, bytes);
        }
        schema.services.sort_unstable();
        schema
    }

    pub(super) fn file(&self, name: &str) -> Option<Bytes> {
        self.by_name.get(name).cloned()
    }

    pub(super) fn file_of(&self, symbol: &str) -> Option<Bytes> {
        self.by_symbol.get(symbol).cloned()
    }

    /// Returns true if there is a message of this full name.
    pub(super) fn has(&self, symbol: &str) -> bool {
        self.by_symbol.contains_key(symbol)
    }
}

/// The full names of what a file declares.
fn symbols(file: &File) -> Vec<String> {
    let mut symbols = Vec::new();
    let package = &file.package;
    for message in &file.messages {
        let name = format!("{package}.{}", message.name);
        symbols.extend(message.fields.iter().map(|field| format!("{name}.{}", field.name)));
        symbols.extend(message.enums.iter().map(|one| format!("{name}.{}", one.name)));
        symbols.push(name);
    }
    for service in &file.services {
        let name = format!("{package}.{}", service.name);
        symbols.extend(service.methods.iter().map(|method| format!("{name}.{}", method.name)));
        symbols.push(name);
    }
    symbols
}
