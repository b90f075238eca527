//! The OpenAPI 3.1 document, computed from the operations.
//!
//! It is made of plain `serde_json` values, whose members keep their order: the schemas in it come from
//! [`crate::json::schema`] as such values, and typed documents (`utoipa`) would have to take each of them apart into
//! types that know less of JSON Schema 2020-12 than we use. The same operations give the same text.

use serde_json::{Map, Value, json};
use synap_core::Code;
use synap_core::command::alias::Put;

use super::envelopes;
use super::raw::RawReply;
use super::route::{self, Verbs};
use crate::json::members::{each_member, has_direct_parts, is_scalar, path_arguments};
use crate::json::schema::{Schemas, definitions};
use crate::problem;
use crate::spec::{ArgKind, ArgSpec, Repeat, Shape};

/// What the document says of one row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    /// `hash.set`.
    pub op: &'a str,
    /// The tag that it stands under.
    pub group: &'a str,
    pub summary: &'a str,
    /// More than the summary, in Markdown; may be empty.
    pub doc: &'a str,
    pub args: &'a [ArgSpec],
    /// An argument that may be left out, and that a path may end with all the same.
    pub segment: Option<&'a ArgSpec>,
    pub returns: &'a Shape,
    pub verbs: Verbs,
    pub is_deprecated: bool,
}

/// What the document says of the whole.
#[derive(Clone, Copy, Debug)]
pub struct Info<'a> {
    pub title: &'a str,
    pub version: &'a str,
    pub description: &'a str,
}

/// The text of the document, indented, with a line break at its end.
pub fn text(info: &Info, operations: &[Operation], puts: &[(&Put, &Operation)]) -> String {
    format!("{:#}\n", document(info, operations, puts))
}

pub fn document(info: &Info, operations: &[Operation], puts: &[(&Put, &Operation)]) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    let mut groups: Vec<&str> = Vec::new();
    for operation in operations {
        if !groups.contains(&operation.group) {
            groups.push(operation.group);
        }
        let mut add = |path: String, method: &str, described: Value| {
            let item = paths.entry(path).or_insert_with(|| json!({}));
            item[method] = described;
        };
        add(route::path(operation.op), "post", by_body(operation));
        let template = route::template(operation.op, operation.args);
        // All arguments may come in the query, too.
        let has_segments = path_arguments(operation.args).next().is_some();
        for (method, has) in [("get", operation.verbs.get), ("delete", operation.verbs.delete)] {
            if has && has_segments {
                add(route::path(operation.op), method, by_url(operation, &format!("{method}_query"), 0));
            }
        }
        if operation.verbs.get {
            add(template.clone(), "get", by_path(operation, "get"));
            if let Some(segment) = operation.segment {
                add(format!("{template}/{{{}}}", segment.name), "get", by_longer_path(operation, segment));
            }
        }
        if operation.verbs.delete {
            add(template, "delete", by_path(operation, "delete"));
        }
    }
    for (put, operation) in puts {
        for key in operation.args.iter().take(1) {
            paths.insert(format!("/{}/{{{}}}", put.path, key.name), json!({"put": by_put(put, operation)}));
        }
    }
    for (path, item) in envelopes::paths() {
        paths.insert(path.into(), item);
    }
    groups.push(envelopes::TAG);

    let mut schemas = definitions();
    schemas.insert("Problem".into(), problem_schema());
    schemas.extend(envelopes::schemas());
    json!({
        "openapi": "3.1.0",
        "info": {"title": info.title, "version": info.version, "description": info.description,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "servers": [{"url": route::PREFIX}],
        // Without credentials a call is the default user's.
        "security": [{}, {"basic": []}, {"bearer": []}],
        "tags": groups.iter().map(|group| json!({"name": group})).collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer", "description": "The secret of an API key."},
            },
            "responses": {
                "Problem": {
                    "description": "The call was refused or failed; `code` says why.",
                    "content": {problem::CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
                },
            },
        },
    })
}

fn by_body(operation: &Operation) -> Value {
    let mut described = common(operation, &operation.op.replace('.', "_"));
    if !operation.args.is_empty() {
        let schema = Schemas::OPENAPI.request(operation.args);
        described["requestBody"] = json!({
            "required": operation.args.iter().any(|spec| !spec.optional && !matches!(spec.kind, ArgKind::AnyOrder(_))),
            "content": {"application/json": {"schema": schema}},
        });
    }
    with_responses(described, operation)
}

fn by_path(operation: &Operation, method: &str) -> Value {
    by_url(operation, method, path_arguments(operation.args).count())
}

/// With so many of the arguments as segments of the path, and the others in the query.
fn by_url(operation: &Operation, method: &str, in_path: usize) -> Value {
    let mut described = common(operation, &format!("{}_by_{method}", operation.op.replace('.', "_")));
    let mut parameters: Vec<Value> = Vec::new();
    for spec in &operation.args[..in_path] {
        parameters.push(parameter(spec, "path", true));
    }
    for spec in &operation.args[in_path..] {
        query_parameters(operation.args, spec, !spec.optional, &mut parameters);
    }
    // Alternatives of a choice may share a member.
    let mut names: Vec<Value> = Vec::new();
    parameters.retain(|parameter| {
        let is_new = !names.contains(&parameter["name"]);
        names.push(parameter["name"].clone());
        is_new
    });
    if !parameters.is_empty() {
        described["parameters"] = parameters.into();
    }
    with_responses(described, operation)
}

/// The same with an argument that may be left out in the path.
fn by_longer_path(operation: &Operation, segment: &ArgSpec) -> Value {
    let mut described = by_path(operation, "path");
    if let Some(parameters) = described["parameters"].as_array_mut() {
        parameters.retain(|other| other["name"] != segment.name);
        let once = ArgSpec { repeat: Repeat::Once, ..*segment };
        parameters.insert(0, parameter(&once, "path", true));
    }
    described
}

/// The value itself as the body.
fn by_put(put: &Put, operation: &Operation) -> Value {
    let mut described = by_path(operation, "put");
    if let Some(parameters) = described["parameters"].as_array_mut() {
        parameters.retain(|parameter| parameter["name"] != put.body);
    }
    described["requestBody"] =
        json!({"required": true, "content": {RAW: {"schema": {"type": "string", "format": "binary"}}}});
    described
}

/// Bytes as they are, instead of JSON.
pub const RAW: &str = "application/octet-stream";

fn common(operation: &Operation, id: &str) -> Value {
    let mut described = json!({"operationId": id, "tags": [operation.group], "summary": operation.summary});
    if !operation.doc.is_empty() {
        described["description"] = operation.doc.into();
    }
    if operation.is_deprecated {
        described["deprecated"] = true.into();
    }
    described
}

fn with_responses(mut described: Value, operation: &Operation) -> Value {
    let doc = if operation.returns.doc.is_empty() { "The reply." } else { operation.returns.doc };
    described["responses"] = json!({
        "200": {
            "description": doc,
            "content": {"application/json": {"schema": Schemas::OPENAPI.reply(operation.returns)}},
        },
        "default": {"$ref": "#/components/responses/Problem"},
    });
    if RawReply::fits(operation.returns) {
        let raw = json!({"schema": {"type": "string", "format": "binary"}});
        described["responses"]["200"]["content"][RAW] = raw;
    }
    described
}

fn query_parameters(args: &[ArgSpec], spec: &ArgSpec, is_required: bool, out: &mut Vec<Value>) {
    match spec.kind {
        ArgKind::Block(parts) if has_direct_parts(args, spec) => {
            // Repeated blocks are repeated names that go together in order.
            for part in parts {
                let repeat = if spec.repeat == Repeat::Once { part.repeat } else { Repeat::Many };
                query_parameters(args, &ArgSpec { repeat, ..*part }, is_required && !part.optional, out);
            }
        }
        _ => each_member(spec, &mut |member| {
            let is_itself = std::ptr::eq(member, spec);
            match member.kind {
                ArgKind::Block(_) if !is_itself => query_parameters(args, member, false, out),
                _ if !out.iter().any(|parameter| parameter["name"] == member.name) => {
                    out.push(parameter(member, "query", is_required && is_itself));
                }
                _ => (),
            }
        }),
    }
}

fn parameter(spec: &ArgSpec, place: &str, is_required: bool) -> Value {
    let mut parameter = json!({"name": spec.name, "in": place, "required": is_required});
    if !spec.doc.is_empty() {
        parameter["description"] = spec.doc.into();
    }
    let one = match spec.kind {
        // Everything is text in a URL; base64 would be taken for itself.
        ArgKind::Key(_) | ArgKind::Bytes | ArgKind::Pattern | ArgKind::Channel { .. } => json!({"type": "string"}),
        ArgKind::Form { pattern, .. } => json!({"type": "string", "pattern": pattern}),
        ArgKind::Int { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        _ => Schemas::PLAIN.property(&ArgSpec { repeat: Repeat::Once, doc: "", ..*spec }),
    };
    if !is_scalar(spec) && !matches!(spec.kind, ArgKind::Flag) {
        let schema = Schemas::OPENAPI.property(&ArgSpec { doc: "", ..*spec });
        parameter["content"] = json!({"application/json": {"schema": schema}});
    } else if spec.repeat == Repeat::Once {
        parameter["schema"] = one;
    } else {
        parameter["schema"] = json!({"type": "array", "items": one});
        parameter["explode"] = true.into();
    }
    parameter
}

fn problem_schema() -> Value {
    let mut codes: Vec<&str> = Vec::new();
    for code in Code::ALL {
        if !codes.contains(&code.word()) {
            codes.push(code.word());
        }
    }
    json!({
        "type": "object",
        "description": "An error (RFC 9457).",
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "What happened, in a sentence."},
            "code": {"type": "string", "description": "What happened, for programs.", "enum": codes},
        },
        "required": ["type", "title", "status", "detail", "code"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::samples::*;

    const INFO: Info = Info { title: "Synap", version: "0.1.0", description: "" };
    const VALUE: Shape = Shape::optional(&Shape::bytes("value", "What is stored."));
    const ADDED: Shape = Shape::int("added", "Fields that did not exist before.");

    fn sample<'a>(op: &'a str, args: &'a [ArgSpec], returns: &'a Shape) -> Operation<'a> {
        let group = op.split('.').next().unwrap_or(op);
        Operation {
            op,
            group,
            summary: "Does it.",
            doc: "",
            args,
            segment: None,
            returns,
            verbs: Verbs::default(),
            is_deprecated: false,
        }
    }

    fn samples() -> Vec<Operation<'static>> {
        let reads = Verbs { get: true, delete: false };
        vec![
            Operation { verbs: reads, ..sample("hash.get", HGET, &VALUE) },
            sample("hash.set", HSET, &ADDED),
            Operation { verbs: reads, ..sample("key.scan", SCAN, &Shape::ANY) },
            Operation { verbs: Verbs { get: false, delete: true }, ..sample("key.delete", DEL, &ADDED) },
            Operation { verbs: reads, ..sample("geo.search", GEOSEARCH, &Shape::ANY) },
            Operation { verbs: reads, ..sample("stream.read", XREAD, &Shape::ANY) },
            Operation { verbs: reads, ..sample("bit.field", BITFIELD, &Shape::ANY) },
            Operation { is_deprecated: true, ..sample("server.ping", &[], &Shape::OK) },
        ]
    }

    fn names(document: &Value, path: &str, method: &str) -> Vec<String> {
        let parameters = document["paths"][path][method]["parameters"].as_array().expect("parameters");
        let shown = |p: &Value| {
            let place = p["in"].as_str().expect("a place");
            let mark = if p["required"] == true { "!" } else { "" };
            format!("{place} {}{mark}", p["name"].as_str().expect("a name"))
        };
        parameters.iter().map(shown).collect()
    }

    #[test]
    fn operations_are_routes() {
        let document = document(&INFO, &samples(), &[]);
        let paths: Vec<_> = document["paths"].as_object().expect("paths").keys().map(String::as_str).collect();
        assert_eq!(
            paths,
            [
                "/hash/get",
                "/hash/get/{key}/{field}",
                "/hash/set",
                "/key/scan",
                "/key/scan/{cursor}",
                "/key/delete",
                "/geo/search",
                "/geo/search/{key}",
                "/stream/read",
                "/bit/field",
                "/bit/field/{key}",
                "/server/ping",
                "/command",
                "/pipeline",
                "/transaction",
                "/events",
            ]
        );
        assert_eq!(document["paths"]["/server/ping"]["post"]["deprecated"], true);
        assert_eq!(document["paths"]["/server/ping"]["post"]["requestBody"], Value::Null);
        assert_eq!(document["tags"][1]["name"], "key");
    }

    #[test]
    fn arguments_are_parameters() {
        let document = document(&INFO, &samples(), &[]);
        assert_eq!(names(&document, "/hash/get/{key}/{field}", "get"), ["path key!", "path field!"]);
        assert_eq!(
            names(&document, "/key/scan/{cursor}", "get"),
            ["path cursor!", "query match", "query count", "query type"]
        );
        assert_eq!(names(&document, "/key/delete", "delete"), ["query keys!"]);
        assert_eq!(names(&document, "/stream/read", "get"), ["query count", "query key!", "query id!"]);
        let key = &document["paths"]["/stream/read"]["get"]["parameters"][1];
        assert_eq!(key["schema"], json!({"type": "array", "items": {"type": "string"}}));
        assert_eq!(
            names(&document, "/geo/search/{key}", "get"),
            [
                "path key!",
                "query from_member",
                "query longitude",
                "query latitude",
                "query radius",
                "query unit",
                "query width",
                "query height",
                "query limit",
                "query any",
            ]
        );
        let operations = &document["paths"]["/bit/field/{key}"]["get"]["parameters"][1];
        assert_eq!(operations["name"], "operations");
        assert!(operations["content"]["application/json"]["schema"]["anyOf"].is_array());
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
            match value {
                Value::Object(members) => {
                    found.extend(members.get("$ref").and_then(Value::as_str));
                    members.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|item| references(item, found)),
                _ => (),
            }
        }
        let document = document(&INFO, &samples(), &[]);
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
    }

    #[test]
    fn operations_have_ids_of_their_own() {
        let document = document(&INFO, &samples(), &[]);
        let mut ids: Vec<_> = document["paths"]
            .as_object()
            .expect("paths")
            .values()
            .flat_map(|item| item.as_object().expect("an item").values())
            .map(|operation| operation["operationId"].to_string())
            .collect();
        let count = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), count);
    }

    #[test]
    fn the_same_operations_give_the_same_text() {
        assert_eq!(text(&INFO, &samples(), &[]), text(&INFO, &samples(), &[]));
    }
}
