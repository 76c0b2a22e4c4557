//! Description of the HTTP API: an OpenAPI document, and a page for people. Both come from the list of methods, the
//! types of their parameters and results, and the settings of the endpoint.

mod endpoint;
mod page;

pub(crate) use endpoint::mount;
pub(crate) use page::page;

use super::describe::{Describe, Schemas, object, reference};
use super::error::ApiError;
use super::http::HttpSettings;
use super::method::{Descriptor, METHODS};
use serde_json::{Map, Value, json};

const ABOUT: &str = "Operations for an application's backend. Field names are case-insensitive, unknown fields are \
    ignored, and null counts as absent.";

/// The OpenAPI document.
#[must_use]
pub(crate) fn document(settings: &HttpSettings) -> Value {
    let mut paths: Map<String, Value> = METHODS
        .iter()
        .map(|method| (settings.path(method.name), json!({"post": operation(method)})))
        .collect();
    paths.insert(settings.path("batch"), json!({"post": batch()}));
    if !settings.prefix.is_empty() {
        paths.insert(settings.prefix.clone(), json!({"post": old_form()}));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Spinward server API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
        },
        "servers": [{"url": "/"}],
        "security": security(settings),
        "paths": paths,
        "components": {
            "securitySchemes": security_schemes(settings),
            "schemas": schemas(),
            "parameters": {
                "ErrorMode": {
                    "name": "X-Centrifugo-Error-Mode",
                    "in": "header",
                    "description": "Errors have a status of their own, and the error object as their body.",
                    "schema": {"enum": ["transport"]},
                },
            },
            "responses": {
                "Unauthorized": {"description": "The key is missing or wrong."},
                "Forbidden": {
                    "description": "The key does not allow this method or channel.",
                    "content": of_schema("Refused"),
                },
                "TooManyCalls": {
                    "description": "The key does not allow so many calls per second.",
                    "content": of_schema("Refused"),
                },
                "Slow": {"description": "The body took longer than 30 seconds.", "content": text()},
                "TooLarge": {
                    "description": format!("The body has more than {} bytes.", settings.max_body),
                    "content": text(),
                },
                "Malformed": {
                    "description": "The body is not JSON, or a field has a value of the wrong type.",
                    "content": text(),
                },
            },
        },
    })
}

impl HttpSettings {
    fn path(&self, method: &str) -> String {
        format!("{}/{method}", self.prefix)
    }
}

/// Ways to send the key, each of which is enough.
fn security(settings: &HttpSettings) -> Value {
    if settings.insecure {
        return json!([{}]);
    }
    let names = security_schemes(settings);
    names.keys().map(|name| json!({name: []})).collect()
}

fn security_schemes(settings: &HttpSettings) -> Map<String, Value> {
    let mut schemes = Map::new();
    schemes.insert("key".to_owned(), json!({"type": "apiKey", "in": "header", "name": "X-API-Key"}));
    schemes.insert(
        "authorization".to_owned(),
        json!({
            "type": "apiKey", "in": "header", "name": "Authorization",
            "description": "The word apikey, a space, and the key.",
        }),
    );
    if !settings.no_query_key {
        let about = "Proxies log queries.";
        schemes.insert(
            "query".to_owned(),
            json!({"type": "apiKey", "in": "query", "name": "api_key", "description": about}),
        );
    }
    schemes
}

fn operation(method: &Descriptor) -> Value {
    let mut responses = common_responses();
    responses.insert(
        "200".to_owned(),
        json!({"description": "The result, or the error.", "content": of_schema(&reply_name(method))}),
    );
    for error in method.errors.iter().chain([&ApiError::INTERNAL]) {
        add_error(&mut responses, error);
    }
    json!({
        "operationId": method.name,
        "summary": method.summary,
        "parameters": [{"$ref": "#/components/parameters/ErrorMode"}],
        "requestBody": {
            "required": true,
            "content": {"application/json": {
                "schema": reference(&request_name(method)),
                "example": example(method),
            }},
        },
        "responses": responses,
    })
}

/// Adds the response with this error in the transport mode.
fn add_error(responses: &mut Map<String, Value>, error: &ApiError) {
    let described = format!("{} {}", error.code, error.message);
    let response = responses.entry(error.status().to_string()).or_insert_with(|| json!({"description": ""}));
    // Malformed requests have 400 already, in either mode.
    if response.get("$ref").is_some() {
        *response = json!({"description": "The request is malformed", "content": text()});
    }
    let before = response["description"].as_str().unwrap_or_default().to_owned();
    let separator = if before.is_empty() { "In transport mode: " } else { "; in transport mode: " };
    response["description"] = format!("{before}{separator}{described}").into();
    response["content"]["application/json"] = json!({"schema": reference("Error")});
}

fn batch() -> Value {
    let mut responses = common_responses();
    responses.insert(
        "200".to_owned(),
        json!({"description": "One reply for each command, in their order.", "content": of_schema("BatchReplies")}),
    );
    json!({
        "operationId": "batch",
        "summary": "Makes many calls, at most 10,000. A failed one does not affect the others.",
        "requestBody": {
            "required": true,
            "content": {"application/json": {
                "schema": reference("BatchRequest"),
                "example": {"commands": [
                    {"publish": {"channel": "news", "data": 1}},
                    {"presence_stats": {"channel": "news"}},
                ]},
            }},
        },
        "responses": responses,
    })
}

fn old_form() -> Value {
    let mut responses = common_responses();
    responses.insert(
        "200".to_owned(),
        json!({"description": "One reply a line, in the order of the commands.", "content": of_schema("OldReply")}),
    );
    json!({
        "operationId": "commands",
        "summary": "The old form: one command, or many a line each.",
        "requestBody": {
            "required": true,
            "content": {"application/json": {
                "schema": reference("OldCommand"),
                "example": {"method": "publish", "params": {"channel": "news", "data": 1}},
            }},
        },
        "responses": responses,
    })
}

fn common_responses() -> Map<String, Value> {
    let common = [
        ("400", "Malformed"),
        ("401", "Unauthorized"),
        ("403", "Forbidden"),
        ("408", "Slow"),
        ("413", "TooLarge"),
        ("429", "TooManyCalls"),
    ];
    let refer = |(status, name): (&str, &str)| {
        (status.to_owned(), json!({"$ref": format!("#/components/responses/{name}")}))
    };
    common.into_iter().map(refer).collect()
}

fn schemas() -> Value {
    let mut schemas = Schemas::default();
    let (mut commands, mut replies) = (Map::new(), Map::new());
    let error = ApiError::schema(&mut schemas);
    for method in METHODS {
        let request = object("", &(method.fields)(), &mut schemas);
        commands.insert(method.name.to_owned(), schemas.add(&request_name(method), request));
        let reply = (method.reply)(&mut schemas);
        schemas.add(&reply_name(method), reply);
        replies.insert(method.name.to_owned(), (method.output)(&mut schemas));
    }
    replies.insert("error".to_owned(), error.clone());
    let request = json!({
        "type": "object",
        "properties": {
            "commands": {
                "type": "array",
                "maxItems": 10_000,
                "items": {
                    "type": "object",
                    "description": "The method, and its parameters.",
                    "properties": commands,
                    "minProperties": 1,
                    "maxProperties": 1,
                },
            },
            "parallel": {"type": "boolean", "description": "Run the commands at the same time, in no order."},
        },
    });
    schemas.add("BatchRequest", request);
    let response = json!({
        "type": "object",
        "properties": {"replies": {"type": "array", "items": {
            "type": "object",
            "properties": replies,
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": false,
        }}},
        "additionalProperties": false,
    });
    schemas.add("BatchReplies", response);
    let names: Vec<&str> = METHODS.iter().map(|method| method.name).collect();
    let last = METHODS.iter().filter_map(|method| method.number).max();
    let command = json!({
        "type": "object",
        "properties": {
            "id": {"type": "integer", "minimum": 0, "maximum": u32::MAX, "description": "Comes back with the reply."},
            "method": {"oneOf": [{"enum": names}, {"type": "integer", "minimum": 0, "maximum": last}]},
            "params": {"type": "object"},
        },
    });
    schemas.add("OldCommand", command);
    let reply = json!({
        "type": "object",
        "properties": {
            "id": {"type": "integer", "minimum": 1, "maximum": u32::MAX},
            "result": {"type": "object"},
            "error": error,
        },
        "additionalProperties": false,
    });
    schemas.add("OldReply", reply);
    schemas.into_value()
}

/// The parameters of a call as an example.
fn example(method: &Descriptor) -> Value {
    serde_json::from_str(method.example).unwrap_or_default()
}

/// The name of a method in the form of schema names.
fn capitalised(name: &str) -> String {
    name.split('_')
        .flat_map(|word| word[..1].to_uppercase().chars().chain(word[1..].chars()).collect::<Vec<_>>())
        .collect()
}

fn request_name(method: &Descriptor) -> String {
    format!("{}Request", capitalised(method.name))
}

fn reply_name(method: &Descriptor) -> String {
    format!("{}Reply", capitalised(method.name))
}

fn of_schema(schema: &str) -> Value {
    json!({"application/json": {"schema": reference(schema)}})
}

fn text() -> Value {
    json!({"text/plain": {"schema": {"type": "string"}}})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> HttpSettings {
        HttpSettings {
            prefix: "/api".to_owned(),
            callers: crate::api::access::Callers::single("the-key"),
            insecure: false,
            no_query_key: false,
            transport_errors: false,
            max_body: 1 << 20,
            max_batch: 10,
        }
    }

    /// The references in a document.
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_to_a_schema() {
        let document = document(&settings());
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 100);
        for reference in found {
            let at = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(at).is_some_and(|found| !found.is_null()), "{reference}");
        }
    }

    #[test]
    fn every_method_is_described_with_its_parameters() {
        let document = document(&settings());
        for method in METHODS {
            let post = &document["paths"][format!("/api/{}", method.name)]["post"];
            assert_eq!(post["operationId"], method.name);
            let schema = &document["components"]["schemas"][request_name(method)];
            for field in (method.fields)() {
                assert!(schema["properties"][field.name].is_object(), "{schema}");
                assert!(field.about.ends_with('.') && !field.about.starts_with(' '), "{field:?}");
            }
            assert_eq!(post["responses"]["500"]["content"]["application/json"]["schema"], reference("Error"));
        }
        assert_eq!(document["paths"].as_object().unwrap().len(), METHODS.len() + 2);
        assert_eq!(capitalised("history_remove"), "HistoryRemove");
    }

    #[test]
    fn a_host_is_text_and_only_development_tells_where_the_key_is() {
        let place = page::Place { path: "/swagger", host: "a<b>\"c:1", info: None };
        let page = page(&settings(), &place);
        assert!(page.contains("curl -X POST http://a&lt;b&gt;&quot;c:1/api/publish"), "{page}");
        assert!(!page.contains("data-info"));
    }

    #[test]
    fn the_settings_show_and_the_key_does_not() {
        let names = |settings: &HttpSettings| document(settings)["security"].as_array().unwrap().clone();
        assert_eq!(names(&settings()).len(), 3);
        assert_eq!(names(&HttpSettings { no_query_key: true, ..settings() }).len(), 2);
        assert_eq!(names(&HttpSettings { insecure: true, ..settings() }), [json!({})]);
        let moved = HttpSettings { prefix: "/backend".to_owned(), ..settings() };
        assert!(document(&moved)["paths"]["/backend/publish"].is_object());
        let place = page::Place { path: "/swagger", host: "localhost", info: Some("/dev/info") };
        for text in [document(&settings()).to_string(), page(&settings(), &place)] {
            assert!(!text.contains("the-key"));
        }
    }
}
