//! The routes that take calls in envelopes, and events, for the OpenAPI document: they are no operations.

use serde_json::{Value, json};

use crate::stream::{BATCH_COUNT_MAX, ID_BYTES_MAX};

pub const TAG: &str = "stream";

/// Calls of one NDJSON stream are without number.
const NDJSON: &str = "application/x-ndjson";

pub fn paths() -> Vec<(&'static str, Value)> {
    let call = json!({"$ref": "#/components/schemas/Call"});
    let answer = json!({"$ref": "#/components/schemas/Answer"});
    let calls = json!({"type": "array", "items": call, "maxItems": BATCH_COUNT_MAX});
    let answers = json!({"type": "array", "items": answer});
    let many = |id: &str, summary: &str, description: &str, body: Value| {
        json!({"post": {
            "operationId": id,
            "tags": [TAG],
            "summary": summary,
            "description": description,
            "requestBody": {"required": true, "content": {"application/json": {"schema": body}}},
            "responses": {
                "200": {
                    "description": "An answer for each call, in order.",
                    "content": {"application/json": {"schema": answers}},
                },
                "default": {"$ref": "#/components/responses/Problem"},
            },
        }})
    };
    let mut command = many(
        "command",
        "Runs a call, an array of calls, or a stream of them.",
        "With `application/x-ndjson`, each line is a call and each line of the response its answer, in order, as they \
         come; there may be any number of them.",
        json!({"oneOf": [call, calls]}),
    );
    let post = &mut command["post"];
    post["requestBody"]["content"][NDJSON] = json!({"schema": {"type": "string"}});
    let content = &mut post["responses"]["200"]["content"];
    content["application/json"]["schema"] = json!({"oneOf": [answer, answers]});
    content[NDJSON] = json!({"schema": {"type": "string"}});

    let condition = json!({"$ref": "#/components/schemas/Condition"});
    let transaction = json!({
        "type": "object",
        "properties": {
            "calls": calls,
            "watch": {"type": "array", "items": condition, "maxItems": BATCH_COUNT_MAX},
        },
        "required": ["calls"],
        "additionalProperties": false,
    });
    let names = |name: &str, doc: &str| {
        json!({
            "name": name, "in": "query", "required": false, "description": doc, "explode": true,
            "schema": {"type": "array", "items": {"type": "string"}},
        })
    };
    vec![
        ("/command", command),
        (
            "/pipeline",
            many(
                "pipeline",
                "Runs calls one after the other.",
                "Other calls may run between, and an error does not stop them.",
                calls.clone(),
            ),
        ),
        (
            "/transaction",
            many(
                "transaction",
                "Runs calls as one, if the conditions hold.",
                "As MULTI and EXEC: at one moment and all or, when a condition does not hold (409) or a call is refused, \
                 none.",
                json!({"oneOf": [transaction, calls]}),
            ),
        ),
        (
            "/events",
            json!({"get": {
                "operationId": "events",
                "tags": [TAG],
                "summary": "Messages of channels and changes of keys, as they come.",
                "description": "Server-Sent Events: `message` with `channel`, `message` and, for a pattern, `pattern`; \
                     `change` with `key`, `event`, `type` and, for a string, `value`. It ends when the request is closed.",
                "parameters": [
                    names("channels", "Channels to listen to."),
                    names("patterns", "Patterns of channels to listen to."),
                    names("keys", "Keys whose changes to listen to."),
                    names("key_patterns", "Patterns of keys whose changes to listen to."),
                ],
                "responses": {
                    "200": {
                        "description": "Events without an end.",
                        "content": {"text/event-stream": {"schema": {"type": "string"}}},
                    },
                    "default": {"$ref": "#/components/responses/Problem"},
                },
            }}),
        ),
    ]
}

pub fn schemas() -> Vec<(String, Value)> {
    let id = json!({"description": format!("Given back with the answer; at most {ID_BYTES_MAX} bytes.")});
    let call = json!({
        "type": "object",
        "description": "An operation and its named arguments.",
        "properties": {"command": {"type": "string"}, "payload": {"type": ["object", "null"]}, "request_id": id},
        "required": ["command"],
        "additionalProperties": false,
    });
    let answer = json!({
        "type": "object",
        "properties": {
            "request_id": true,
            "success": {"type": "boolean"},
            "payload": {"type": "object", "description": "The reply of the operation."},
            "error": {
                "type": "object",
                "properties": {
                    "code": {"type": "string"}, "message": {"type": "string"}, "status": {"type": "integer"},
                },
                "required": ["code", "message", "status"],
            },
        },
        "required": ["request_id", "success"],
    });
    let bytes = json!({"$ref": "#/components/schemas/Value"});
    let condition = json!({
        "type": "object",
        "description": "What must hold of a string, or of a field of a hash: `equals` or `exists`.",
        "properties": {"key": bytes, "field": bytes, "equals": bytes, "exists": {"type": "boolean"}},
        "required": ["key"],
        "oneOf": [{"required": ["equals"]}, {"required": ["exists"]}],
        "additionalProperties": false,
    });
    vec![("Call".into(), call), ("Answer".into(), answer), ("Condition".into(), condition)]
}
