use proptest::prelude::*;
use synap_core::grammar::generate::{self, Choices};

use super::*;
use crate::json::samples::*;
use crate::json::{lower, render};

/// For tests: full, with the definitions inside.
const FULL: Schemas = Schemas { detail: Detail::Full, references: "" };

/// The first reason why `value` is not of `schema`; knows the keywords that are used here and no other.
fn invalid(schema: &Value, value: &Value) -> Option<String> {
    let fault = |what: &str| Some(format!("{what}: {value} in {:.400}", schema.to_string()));
    let Value::Object(keywords) = schema else {
        return if *schema == Value::Bool(false) { fault("not allowed") } else { None };
    };
    let none = Map::new();
    let properties = keywords.get("properties").and_then(Value::as_object).unwrap_or(&none);
    let fits = |schema: &Value| invalid(schema, value).is_none();
    for (keyword, rule) in keywords {
        let rules = || rule.as_array().into_iter().flatten();
        let holds = match keyword.as_str() {
            "description" => true,
            "type" => match rule {
                Value::String(name) => is_of_type(name, value),
                _ => rules().any(|name| is_of_type(name.as_str().expect("a name"), value)),
            },
            "const" => value == rule,
            // Tokens are taken in any case.
            "enum" => value.as_str().is_some_and(|text| {
                rules().any(|allowed| allowed.as_str().is_some_and(|allowed| allowed.eq_ignore_ascii_case(text)))
            }),
            "pattern" => {
                assert_eq!(rule, INT_PATTERN);
                let is_printed = |text: &str| text.parse::<i128>().is_ok_and(|number| number.to_string() == text);
                value.as_str().is_none_or(|text| text.len() <= 20 && is_printed(text))
            }
            "minimum" => value.as_f64().is_none_or(|v| v >= rule.as_f64().expect("a number")),
            "maximum" => value.as_f64().is_none_or(|v| v <= rule.as_f64().expect("a number")),
            "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= rule.as_u64().expect("a count")),
            "items" => {
                let before = keywords.get("prefixItems").and_then(Value::as_array).map_or(0, Vec::len);
                let mut items = value.as_array().into_iter().flatten().skip(before);
                match items.find_map(|item| invalid(rule, item)) {
                    Some(fault) => return Some(fault),
                    None => true,
                }
            }
            "prefixItems" => {
                let items = value.as_array().into_iter().flatten();
                match rules().zip(items).find_map(|(rule, item)| invalid(rule, item)) {
                    Some(fault) => return Some(fault),
                    None => true,
                }
            }
            "required" => {
                value.as_object().is_none_or(|v| rules().all(|n| v.contains_key(n.as_str().expect("a name"))))
            }
            "dependentRequired" => value.as_object().is_none_or(|members| {
                rule.as_object().expect("an object").iter().filter(|(name, _)| members.contains_key(*name)).all(
                    |(_, needed)| {
                        needed
                            .as_array()
                            .expect("names")
                            .iter()
                            .all(|n| members.contains_key(n.as_str().expect("a name")))
                    },
                )
            }),
            "properties" => {
                let members = value.as_object().into_iter().flatten();
                let mut known = members.filter_map(|(name, value)| Some((properties.get(name)?, value)));
                match known.find_map(|(rule, value)| invalid(rule, value)) {
                    Some(fault) => return Some(fault),
                    None => true,
                }
            }
            "additionalProperties" => {
                let mut others =
                    value.as_object().into_iter().flatten().filter(|(name, _)| !properties.contains_key(*name));
                match others.find_map(|(_, value)| invalid(rule, value)) {
                    Some(fault) => return Some(fault),
                    None => true,
                }
            }
            "anyOf" => rules().any(fits),
            "oneOf" => rules().filter(|rule| fits(rule)).count() == 1,
            "allOf" => rules().all(fits),
            "not" => !fits(rule),
            other => panic!("no such keyword: {other}"),
        };
        if !holds {
            return fault(keyword);
        }
    }
    None
}

fn is_of_type(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("no such type: {other}"),
    }
}

/// A null member says the same as none, which schemas do not repeat for each.
fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, value| !value.is_null());
            members.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => (),
    }
}

#[track_caller]
fn takes(args: &[ArgSpec], json: Value) {
    assert!(lower(&["X"], args, json.to_string().as_bytes()).is_ok(), "{json} is no call");
    assert_eq!(invalid(&FULL.request(args), &json), None);
}

#[track_caller]
fn refuses(args: &[ArgSpec], json: Value) {
    assert!(lower(&["X"], args, json.to_string().as_bytes()).is_err(), "{json} is a call");
    assert!(invalid(&FULL.request(args), &json).is_some(), "{json}");
}

#[test]
fn a_plain_request_has_one_form_and_says_the_rest_in_words() {
    assert_eq!(
        Schemas::PLAIN.request(SET),
        json!({
            "type": "object",
            "properties": {
                "key": {"type": "string", "description": "Name of the key."},
                "value": {"type": ["string", "number", "object"], "description": "Bytes to store."},
                "nx": {"type": "boolean", "description": "Not together with `xx`."},
                "xx": {"type": "boolean", "description": "Not together with `nx`."},
                "get": {"type": "boolean"},
                "ex": {"type": "integer", "minimum": 1, "description": "Not together with `px` or `keep_ttl`."},
                "px": {"type": "integer", "minimum": 1, "description": "Not together with `ex` or `keep_ttl`."},
                "keep_ttl": {"type": "boolean", "description": "Not together with `ex` or `px`."},
            },
            "additionalProperties": false,
            "required": ["key", "value"],
        })
    );
    assert_eq!(
        Schemas::PLAIN.request(HSET)["properties"]["fields"],
        json!({
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "field": {"type": ["string", "number", "object"]},
                    "value": {"type": ["string", "number", "object"], "description": "Bytes to store."},
                },
                "additionalProperties": false,
                "required": ["field", "value"],
            },
            "minItems": 1,
        })
    );
}

#[test]
fn a_plain_choice_between_blocks_names_their_parts() {
    let schema = Schemas::PLAIN.request(GEOSEARCH);
    assert_eq!(schema["properties"]["radius"]["description"], "Either this or `width`.");
    assert_eq!(schema["properties"]["unit"].get("description"), None);
}

#[test]
fn plain_requests_keep_combinators_from_the_top() {
    for (name, args) in ALL {
        let schema = Schemas::PLAIN.request(args);
        let members: Vec<_> = schema.as_object().expect("an object").keys().map(String::as_str).collect();
        for combinator in ["anyOf", "oneOf", "allOf", "not", "$ref", "dependentRequired"] {
            assert!(!members.contains(&combinator), "{name}: {combinator}");
        }
    }
}

#[test]
fn full_requests_know_all_forms() {
    takes(HSET, json!({"key": "k", "fields": {"a": 1}}));
    takes(HSET, json!({"key": "k", "fields": [["a", 1]]}));
    takes(HSET, json!({"key": "k", "field": "a", "value": 1}));
    refuses(HSET, json!({"key": "k"}));
    refuses(HSET, json!({"key": "k", "field": "a"}));
    refuses(HSET, json!({"key": "k", "fields": {"a": 1}, "other": 1}));
    takes(SORT, json!({"key": "k", "offset": 0, "count": 5, "get": "a"}));
    refuses(SORT, json!({"key": "k", "offset": 0}));
    refuses(SET, json!({"key": "k", "value": "v", "nx": true, "xx": true}));
    takes(SET, json!({"key": "k", "value": "v", "nx": true, "xx": false}));
    takes(GEOSEARCH, json!({"key": "k", "from_member": "m", "radius": 1, "unit": "km"}));
    refuses(GEOSEARCH, json!({"key": "k", "from_member": "m", "unit": "km"}));
    takes(BLMOVE, json!({"source": "a", "destination": "b", "from": "LEFT", "to": "LEFT", "timeout": 0}));
    refuses(BLMOVE, json!({"source": "a", "destination": "b", "from": "UP", "to": "LEFT", "timeout": 0}));
}

#[test]
fn replies_are_described_as_they_are_written() {
    const VALUE: Shape = Shape::optional(&Shape::bytes("value", "What is stored."));
    assert_eq!(
        Schemas::PLAIN.reply(&VALUE),
        json!({
            "type": "object",
            "properties": {"value": {"type": ["string", "object", "null"], "description": "What is stored."}},
            "required": ["value"],
        })
    );
    const PAGE: Shape = Shape::tuple("", "", &[Shape::cursor("cursor", ""), Shape::array("keys", "", &Shape::BYTES)]);
    assert_eq!(
        Schemas::OPENAPI.reply(&PAGE),
        json!({
            "type": "object",
            "properties": {
                "cursor": {"type": "string"},
                "keys": {"type": "array", "items": {"$ref": "#/components/schemas/Bytes"}},
            },
            "required": ["cursor", "keys"],
        })
    );
}

#[test]
fn replies_fit_their_schemas() {
    use synap_core::Reply;
    const SCORED: Shape = Shape::pairs("members", "", &[Shape::bytes("member", ""), Shape::double("score", "")]);
    const INFO: Shape =
        Shape::fields("info", "", &[Shape::int("length", ""), Shape::optional(&Shape::text("note", ""))]);
    const MAYBE: Shape = Shape::optional(&INFO);
    const EITHER: Shape = Shape::one_of("", "", &[SCORED, MAYBE, Shape::INT]);
    let scored = |r: &mut dyn Reply| {
        r.array(1);
        r.array(2);
        r.bulk(b"\xff");
        r.double(f64::NAN);
    };
    let info = |r: &mut dyn Reply| {
        r.map(1);
        r.text("length");
        r.int(1);
    };
    let null = |r: &mut dyn Reply| r.null();
    type Write<'w> = &'w dyn Fn(&mut dyn Reply);
    let replies: [(&Shape, Write); 6] =
        [(&SCORED, &scored), (&EITHER, &scored), (&INFO, &info), (&MAYBE, &info), (&MAYBE, &null), (&EITHER, &info)];
    for (shape, write) in replies {
        let shape: &'static Shape = Box::leak(Box::new(*shape));
        let mut reply = crate::json::JsonReply::new(shape);
        write(&mut reply);
        let value: Value = serde_json::from_slice(&reply.finish().expect("a reply")).expect("JSON");
        for schemas in [FULL, Schemas::PLAIN] {
            assert_eq!(invalid(&schemas.reply(shape), &value), None);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_lowers_fits_the_full_schema(
        index in 0..ALL.len(),
        numbers in prop::collection::vec(any::<u32>(), 0..120),
    ) {
        let (_, specs) = ALL[index];
        let mut choices = Choices::new(&numbers);
        let given = generate::arguments(specs, &mut choices);
        let json = render::json(specs, &given, &mut choices);
        // serde_json has no numbers beyond its types.
        let Ok(mut value) = serde_json::from_str::<Value>(&json) else { return Ok(()) };
        without_nulls(&mut value);
        prop_assert_eq!(invalid(&FULL.request(specs), &value), None);
    }
}
