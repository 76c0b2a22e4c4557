//! Engines: combinations that cannot work, and names that nothing has.

use crate::config::report::Report;
use crate::config::typed::{ChannelOptions, Config};

/// A place of the configuration that says which engine is used.
struct Choice<'a> {
    option: String,
    kind: &'a str,
}

pub(super) fn check(report: &mut Report<'_>, config: &Config) {
    for choice in choices(config) {
        built(report, &choice);
    }
    let brokers: Vec<_> = config.brokers.iter().map(|one| (&*one.name, &*one.r#type)).collect();
    let stores: Vec<_> = config.presence_managers.iter().map(|one| (&*one.name, &*one.r#type)).collect();
    names(report, "brokers", &brokers);
    names(report, "presence_managers", &stores);
    let mut scopes = vec![("channel.without_namespace".to_owned(), &config.channel.without_namespace)];
    for namespace in &config.channel.namespaces {
        scopes.push((format!("channel.namespaces[{}]", namespace.name), &namespace.options));
    }
    for (path, options) in scopes {
        scope(report, config, &path, options);
    }
    if config.controller.enabled && config.controller.r#type.is_empty() && broker(config) == "memory" {
        let text = "must be set: the broker is \"memory\", which has no controller";
        report.problem("controller.type", text);
    }
}

/// The type of the broker that channels without `broker_name` have.
fn broker(config: &Config) -> &str {
    if config.broker.enabled {
        return &config.broker.r#type;
    }
    match config.engine.r#type.as_str() {
        "nats" => "jetstream",
        kind => kind,
    }
}

/// The type of the presence manager that channels without `presence_manager_name` have.
fn presence(config: &Config) -> &str {
    if config.presence_manager.enabled { &config.presence_manager.r#type } else { &config.engine.r#type }
}

fn choices(config: &Config) -> Vec<Choice<'_>> {
    let mut choices = vec![Choice { option: "engine.type".to_owned(), kind: &config.engine.r#type }];
    let mut add = |used: bool, option: String, kind| {
        if used {
            choices.push(Choice { option, kind });
        }
    };
    add(config.broker.enabled, "broker.type".to_owned(), &config.broker.r#type);
    let store = &config.presence_manager;
    add(store.enabled, "presence_manager.type".to_owned(), &store.r#type);
    add(config.controller.enabled, "controller.type".to_owned(), &config.controller.r#type);
    for one in &config.brokers {
        add(one.enabled, format!("brokers[{}].type", one.name), &one.r#type);
    }
    for one in &config.presence_managers {
        add(one.enabled, format!("presence_managers[{}].type", one.name), &one.r#type);
    }
    choices
}

/// To go on without an engine that is asked for would lose messages between nodes without a word.
fn built(report: &mut Report<'_>, Choice { option, kind }: &Choice<'_>) {
    let feature = match *kind {
        "redis" if cfg!(not(feature = "redis")) => "redis",
        "nats" | "jetstream" if cfg!(not(feature = "nats")) => "nats",
        "postgres" if cfg!(not(feature = "postgres")) => "postgres",
        "redisnats" => {
            let text = "\"redisnats\" is not built: use \"redis\", or \"jetstream\" for NATS with history";
            return report.problem(option, text);
        }
        _ => return,
    };
    let text = format!("this server was built without {kind:?}: build it with the feature `{feature}`");
    report.problem(option, text);
}

fn names(report: &mut Report<'_>, list: &str, all: &[(&str, &str)]) {
    for (at, (name, kind)) in all.iter().enumerate() {
        let path = format!("{list}[{name}]");
        if name.is_empty() || *name == "memory" || *name == "default" {
            report.problem(&format!("{list}[{at}].name"), format!("{name:?} cannot be a name here"));
        } else if all[..at].iter().any(|(other, _)| other == name) {
            report.problem(&format!("{path}.name"), "is there twice");
        }
        if kind.is_empty() {
            report.problem(&format!("{path}.type"), "must be set");
        }
    }
}

/// The engines that one namespace asks for.
fn scope(report: &mut Report<'_>, config: &Config, path: &str, options: &ChannelOptions) {
    let mut kind = broker(config);
    if !options.broker_name.is_empty() {
        match config.brokers.iter().find(|one| one.enabled && one.name == options.broker_name) {
            Some(one) => kind = &one.r#type,
            None => return unknown(report, &format!("{path}.broker_name"), &options.broker_name, "brokers"),
        }
    }
    // Core NATS forwards messages and keeps none.
    if kind == "nats" {
        let asking = [
            ("history_size", options.history_size != 0),
            ("force_positioning", options.force_positioning),
            ("allow_positioning", options.allow_positioning),
            ("force_recovery", options.force_recovery),
            ("allow_recovery", options.allow_recovery),
        ];
        for (option, _) in asking.iter().filter(|(_, asks)| *asks) {
            let text = "needs history, and the broker \"nats\" keeps none: \"jetstream\", \"redis\" and \"postgres\" do";
            report.problem(&format!("{path}.{option}"), text);
        }
    }
    let mut store = presence(config);
    let name = &options.presence_manager_name;
    if !name.is_empty() {
        match config.presence_managers.iter().find(|one| one.enabled && one.name == *name) {
            Some(one) => store = &one.r#type,
            None => {
                return unknown(report, &format!("{path}.presence_manager_name"), name, "presence_managers");
            }
        }
    }
    if options.presence && store == "memory" && kind != "memory" {
        let text = format!(
            "shows the clients of one node only: the broker {kind:?} serves several nodes, and presence is kept in the \
             memory of each; set `presence_manager`"
        );
        report.note(&format!("{path}.presence"), text);
    }
}

fn unknown(report: &mut Report<'_>, option: &str, name: &str, list: &str) {
    report.problem(option, format!("{name:?} is not the name of one that is enabled in `{list}`"));
}
