//! JSON Schema (2020-12) of requests and replies, computed from specs and shapes.
//!
//! [`Detail::Full`] says all that [`super::lower()`] takes; it is for documents that people and generators read.
//! [`Detail::Plain`] shows one form of each argument and keeps combinators away from the top: language models and the
//! services between them want it so. A form that the plain schema shows is one of those in the full one.

use serde_json::{Map, Value, json};

use super::members::{all_flags, each_member, has_direct_parts, is_scalar, is_token_choice, pair_parts, wanted_by};
use crate::spec::{ArgKind, ArgSpec, Repeat, Shape, ShapeKind};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    Full,
    Plain,
}

/// An integer as text: as it would be printed, and no longer than 64 bits allow.
const INT_PATTERN: &str = "^(0|-?[1-9][0-9]{0,18})$";

/// How schemas are written: how much they say, and where they find shared definitions.
#[derive(Clone, Copy, Debug)]
pub struct Schemas {
    pub detail: Detail,
    /// The beginning of references to [`definitions`]; empty: no references, everything in its place.
    pub references: &'static str,
}

impl Schemas {
    /// For tools: self-contained, one form of each argument.
    pub const PLAIN: Schemas = Schemas { detail: Detail::Plain, references: "" };
    /// For an OpenAPI document that holds [`definitions`] among its components.
    pub const OPENAPI: Schemas = Schemas { detail: Detail::Full, references: "#/components/schemas/" };
}

/// What full schemas refer to.
pub fn definitions() -> Map<String, Value> {
    let base64 = json!({
        "type": "object",
        "description": "Bytes in base64 (RFC 4648).",
        "properties": {"base64": {"type": "string"}},
        "required": ["base64"],
        "additionalProperties": false,
    });
    let mut all = Map::new();
    all.insert("Value".into(), json!({
        "description": "Bytes to send. A string is its UTF-8 bytes, a number its text as written, an object with the \
            single member `base64` those bytes; any other object or array is its own text without blanks.",
        "anyOf": [{"type": "string"}, {"type": "number"}, base64, {"type": ["object", "array"]}],
    }));
    all.insert(
        "Bytes".into(),
        json!({
            "description": "Bytes: a string when they are UTF-8, else base64.",
            "anyOf": [{"type": "string"}, base64],
        }),
    );
    all
}

impl Schemas {
    /// The object of named arguments.
    pub fn request(&self, args: &[ArgSpec]) -> Value {
        self.object(args)
    }

    /// The object that a reply is.
    pub fn reply(&self, shape: &Shape) -> Value {
        self.at_top(shape)
    }

    fn is_full(&self) -> bool {
        self.detail == Detail::Full
    }

    fn object(&self, args: &[ArgSpec]) -> Value {
        let mut object = Object { schemas: *self, scope: args, ..Object::default() };
        for spec in args {
            object.argument(spec, !spec.optional, "");
        }
        object.into_schema()
    }

    /// One argument under its own name, with a description.
    pub fn property(&self, spec: &ArgSpec) -> Value {
        described(self.occurrences(spec), spec.doc)
    }

    /// All occurrences of an argument as one value.
    fn occurrences(&self, spec: &ArgSpec) -> Value {
        let one = self.occurrence(spec);
        if spec.repeat == Repeat::Once {
            return one;
        }
        let array = match spec.optional {
            true => json!({"type": "array", "items": one}),
            false => json!({"type": "array", "items": one, "minItems": 1}),
        };
        match pair_parts(&spec.kind) {
            _ if !self.is_full() => array,
            Some((_, value)) => {
                let pairs = json!({
                    "type": "object",
                    "description": format!("Pairs: the {} of each is its name.", spec_name(&spec.kind)),
                    "additionalProperties": self.occurrence(value),
                });
                json!({"anyOf": [array, pairs]})
            }
            None if matches!(spec.kind, ArgKind::Block(_)) => array,
            None => {
                let mut one = one;
                // An array is all of them, also where one value may be an array.
                one["not"] = json!({"type": "array"});
                json!({"anyOf": [array, one]})
            }
        }
    }

    fn occurrence(&self, spec: &ArgSpec) -> Value {
        match spec.kind {
            ArgKind::Key(_) | ArgKind::Bytes | ArgKind::Pattern | ArgKind::Channel { .. } => match self.detail {
                Detail::Full => self.refer_to("Value"),
                Detail::Plain if matches!(spec.kind, ArgKind::Bytes) => json!({"type": ["string", "number", "object"]}),
                Detail::Plain => json!({"type": "string"}),
            },
            // A number, where it has the form, is its text.
            ArgKind::Form { pattern, examples } => {
                json!({"type": ["string", "number"], "pattern": pattern, "examples": examples})
            }
            ArgKind::Int { min, max } => {
                // Short for tools: only what is narrower than the 64 bits.
                let (is_full, mut schema) = match self.detail {
                    Detail::Full => (true, json!({"type": ["integer", "string"], "pattern": INT_PATTERN})),
                    Detail::Plain => (false, json!({"type": "integer"})),
                };
                if is_full || min > i64::MIN {
                    schema["minimum"] = min.into();
                }
                if is_full || max < i64::MAX {
                    schema["maximum"] = max.into();
                }
                schema
            }
            ArgKind::Float { min, max, infinite } => {
                let mut schema = match self.detail {
                    Detail::Plain if !infinite => json!({"type": "number"}),
                    _ => json!({"type": ["number", "string"]}),
                };
                for (name, bound) in [("minimum", min), ("maximum", max)] {
                    if bound.is_finite() && bound.abs() < f64::MAX {
                        schema[name] = bound.into();
                    }
                }
                schema
            }
            ArgKind::Flag => json!({"type": "boolean"}),
            ArgKind::Block(parts) => {
                let object = self.object(parts);
                match self.detail {
                    Detail::Plain => object,
                    Detail::Full => json!({"anyOf": [object, self.parts_in_order(parts)]}),
                }
            }
            ArgKind::OneOf(alternatives) if all_flags(alternatives) => {
                json!({"type": "string", "enum": alternatives.iter().map(|a| a.token).collect::<Vec<_>>()})
            }
            ArgKind::OneOf(_) => self.object(&[ArgSpec { token: "", optional: false, repeat: Repeat::Once, ..*spec }]),
            ArgKind::AnyOrder(options) => self.object(options),
        }
    }

    fn parts_in_order(&self, parts: &[ArgSpec]) -> Value {
        let item = |part: &ArgSpec| match part.optional {
            true => json!({"anyOf": [self.occurrences(part), {"type": "null"}]}),
            false => self.occurrences(part),
        };
        let least = parts.iter().rposition(|part| !part.optional).map_or(0, |last| last + 1);
        let items: Vec<_> = parts.iter().map(item).collect();
        json!({"type": "array", "prefixItems": items, "items": false, "minItems": least})
    }

    fn refer_to(&self, name: &str) -> Value {
        match self.references {
            "" => definitions().remove(name).unwrap_or_default(),
            start => json!({"$ref": format!("{start}{name}")}),
        }
    }

    fn at_top(&self, shape: &Shape) -> Value {
        let member = |shape: &Shape, value: Value| {
            let name = if shape.name.is_empty() { "result" } else { shape.name };
            json!({"type": "object", "properties": {name: described(value, shape.doc)}, "required": [name]})
        };
        match shape.kind {
            ShapeKind::Fields(_) => described(self.shape(shape), shape.doc),
            ShapeKind::Tuple(_) if shape.name.is_empty() => described(self.shape(shape), shape.doc),
            ShapeKind::Nothing => json!({"type": "object"}),
            ShapeKind::OneOf(shapes) if shape.name.is_empty() => {
                let each: Vec<_> = shapes.iter().map(|shape| self.at_top(shape)).collect();
                described(json!({"type": "object", "anyOf": each}), shape.doc)
            }
            // Null stands under the name that the shape has, though it is the object itself when it is there.
            ShapeKind::Optional(inner) if is_object_at_top(inner) => {
                let absent = member(shape, json!({"type": "null"}));
                json!({"type": "object", "anyOf": [self.at_top(inner), absent]})
            }
            _ => member(shape, self.shape(shape)),
        }
    }

    fn shape(&self, shape: &Shape) -> Value {
        match shape.kind {
            ShapeKind::Ok => json!({"const": true}),
            ShapeKind::Status | ShapeKind::Text | ShapeKind::Cursor => json!({"type": "string"}),
            ShapeKind::Int => json!({"type": "integer"}),
            ShapeKind::Double => json!({"anyOf": [{"type": "number"}, {"enum": ["inf", "-inf", "nan"]}]}),
            ShapeKind::Bool => json!({"type": "boolean"}),
            ShapeKind::Bytes => match self.references {
                // Short, and all that a tool's caller needs to know.
                "" => json!({"type": ["string", "object"]}),
                _ => self.refer_to("Bytes"),
            },
            ShapeKind::Optional(inner) => {
                let mut schema = self.shape(inner);
                match schema.get("type").cloned() {
                    Some(Value::String(one)) => schema["type"] = json!([one, "null"]),
                    Some(Value::Array(mut several)) => {
                        several.push("null".into());
                        schema["type"] = several.into();
                    }
                    _ => schema = json!({"anyOf": [schema, {"type": "null"}]}),
                }
                schema
            }
            ShapeKind::Array(item) => json!({"type": "array", "items": described(self.shape(item), item.doc)}),
            ShapeKind::Map(value) => {
                json!({"type": "object", "additionalProperties": described(self.shape(value), value.doc)})
            }
            ShapeKind::Tuple(shapes) => self.named_shapes(shapes, true),
            ShapeKind::Fields(shapes) => self.named_shapes(shapes, false),
            ShapeKind::Pairs(shapes) => json!({"type": "array", "items": self.named_shapes(shapes, true)}),
            ShapeKind::OneOf(shapes) => {
                let each: Vec<_> = shapes.iter().map(|shape| described(self.shape(shape), shape.doc)).collect();
                json!({"anyOf": each})
            }
            ShapeKind::Any | ShapeKind::Nothing => json!({}),
        }
    }

    fn named_shapes(&self, shapes: &[Shape], all_there: bool) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for (index, shape) in shapes.iter().enumerate() {
            let name = if shape.name.is_empty() { index.to_string() } else { shape.name.into() };
            if all_there || !matches!(shape.kind, ShapeKind::Optional(_)) {
                required.push(name.clone());
            }
            properties.insert(name, described(self.shape(shape), shape.doc));
        }
        let mut schema = json!({"type": "object", "properties": properties});
        if !required.is_empty() {
            schema["required"] = required.into();
        }
        schema
    }
}

fn is_object_at_top(shape: &Shape) -> bool {
    match shape.kind {
        ShapeKind::Fields(_) => true,
        ShapeKind::Tuple(_) | ShapeKind::OneOf(_) => shape.name.is_empty(),
        _ => false,
    }
}

/// The name of the first part of a block.
fn spec_name(kind: &ArgKind) -> &'static str {
    match kind {
        ArgKind::Block([first, ..]) => first.name,
        _ => "",
    }
}

fn described(mut schema: Value, doc: &str) -> Value {
    if !doc.is_empty()
        && let Value::Object(members) = &mut schema
    {
        members.insert("description".into(), doc.into());
    }
    schema
}

/// An object of named arguments that is being put together.
struct Object<'s> {
    schemas: Schemas,
    scope: &'s [ArgSpec],
    properties: Map<String, Value>,
    required: Vec<&'static str>,
    /// Members that need others.
    needs: Map<String, Value>,
    all_of: Vec<Value>,
}

impl Default for Object<'_> {
    fn default() -> Self {
        Object {
            schemas: Schemas::PLAIN,
            scope: &[],
            properties: Map::new(),
            required: Vec::new(),
            needs: Map::new(),
            all_of: Vec::new(),
        }
    }
}

impl Object<'_> {
    fn into_schema(self) -> Value {
        let mut schema = json!({"type": "object", "properties": self.properties, "additionalProperties": false});
        if !self.required.is_empty() {
            schema["required"] = json!(self.required);
        }
        if !self.needs.is_empty() {
            schema["dependentRequired"] = self.needs.into();
        }
        if !self.all_of.is_empty() {
            schema["allOf"] = self.all_of.into();
        }
        schema
    }

    /// Adds the members of one argument. `note` is added to their descriptions.
    fn argument(&mut self, spec: &ArgSpec, is_required: bool, note: &str) {
        match spec.kind {
            ArgKind::AnyOrder(options) if spec.repeat == Repeat::Once => {
                options.iter().for_each(|option| self.argument(option, is_required && !option.optional, note));
            }
            ArgKind::OneOf(alternatives) if spec.repeat == Repeat::Once && !is_token_choice(spec) => {
                self.choice(alternatives, is_required);
            }
            ArgKind::Block(parts) => self.block(spec, parts, is_required, note),
            _ => {
                self.member(spec, note);
                if is_required {
                    self.required.push(spec.name);
                }
            }
        }
    }

    fn member(&mut self, spec: &ArgSpec, note: &str) {
        // What several alternatives share excludes nothing.
        let note = if self.scope.iter().any(|other| is_shared(other, spec.name)) { "" } else { note };
        let doc = [spec.doc, note].join(" ");
        let schema = described(self.schemas.occurrences(spec), doc.trim());
        if let Some(earlier) = self.properties.get_mut(spec.name) {
            // Alternatives share the name; the first one describes it.
            if self.schemas.is_full() && *earlier != schema {
                *earlier = json!({"anyOf": [earlier.take(), schema]});
            }
            return;
        }
        self.properties.insert(spec.name.into(), schema);
    }

    fn choice(&mut self, alternatives: &[ArgSpec], is_required: bool) {
        for alternative in alternatives {
            let chosen = ArgSpec { optional: false, ..*alternative };
            let others: Vec<_> = alternatives
                .iter()
                .filter(|other| other.name != chosen.name)
                .map(|other| match other.kind {
                    // The block itself has no member here; its first part stands for it.
                    ArgKind::Block([first, ..]) if has_direct_parts(self.scope, other) => format!("`{}`", first.name),
                    _ => format!("`{}`", other.name),
                })
                .collect();
            let note = match self.schemas.detail {
                Detail::Full => String::new(),
                Detail::Plain if others.is_empty() => String::new(),
                Detail::Plain if is_required => format!("Either this or {}.", others.join(" or ")),
                Detail::Plain => format!("Not together with {}.", others.join(" or ")),
            };
            self.argument(&chosen, false, &note);
        }
        if !self.schemas.is_full() {
            return;
        }
        let mut cases: Vec<_> = alternatives.iter().map(|alternative| told(alternative, alternatives)).collect();
        if !is_required {
            cases.push(json!({"not": {"anyOf": cases}}));
        }
        self.all_of.push(json!({"oneOf": cases}));
    }

    fn block(&mut self, spec: &ArgSpec, parts: &[ArgSpec], is_required: bool, note: &str) {
        let is_direct = has_direct_parts(self.scope, spec);
        let is_once = spec.repeat == Repeat::Once;
        if !self.schemas.is_full() {
            if is_once && is_direct {
                parts.iter().for_each(|part| self.argument(part, is_required && !part.optional, note));
            } else {
                self.member(spec, note);
                if is_required {
                    self.required.push(spec.name);
                }
            }
            return;
        }

        self.member(spec, note);
        if is_direct {
            parts.iter().for_each(|part| self.argument(part, false, note));
            let needed = needed(parts);
            for part in parts {
                each_member(part, &mut |member| {
                    let others: Vec<_> = needed.iter().filter(|name| **name != member.name).copied().collect();
                    let is_flag = matches!(member.kind, ArgKind::Flag); // it may be false
                    let is_shared = self.scope.iter().any(|spec| is_shared(spec, member.name));
                    if !others.is_empty() && !is_flag && !is_shared && !self.needs.contains_key(member.name) {
                        self.needs.insert(member.name.into(), json!(others));
                    }
                });
            }
        }
        if !is_required {
            return;
        }
        match needed(parts).as_slice() {
            _ if !is_direct => self.required.push(spec.name),
            [] if is_once => (),
            [] => self.all_of.push(told(&ArgSpec { optional: false, ..*spec }, &[])),
            needed => self.all_of.push(json!({"anyOf": [{"required": [spec.name]}, {"required": needed}]})),
        }
    }
}

/// A schema that holds when one of `alternatives` is chosen: a member is there that it alone has.
fn told(alternative: &ArgSpec, alternatives: &[ArgSpec]) -> Value {
    let mut cases = Vec::new();
    each_member(&ArgSpec { optional: false, ..*alternative }, &mut |member| {
        let others = alternatives.iter().filter(|other| other.name != alternative.name);
        if others.copied().any(|other| wanted_by(&[ArgSpec { optional: false, ..other }], member.name) > 0) {
            return;
        }
        cases.push(match member.kind {
            ArgKind::Flag => json!({"required": [member.name], "properties": {member.name: {"const": true}}}),
            _ => json!({"required": [member.name]}),
        });
    });
    if cases.len() == 1 { cases.remove(0) } else { json!({"anyOf": cases}) }
}

/// The names of those parts that are single values and must be there.
fn needed(parts: &[ArgSpec]) -> Vec<&'static str> {
    let is_needed = |part: &&ArgSpec| !part.optional && (is_scalar(part) || part.repeat != Repeat::Once);
    parts
        .iter()
        .filter(is_needed)
        .filter(|part| !matches!(part.kind, ArgKind::Block(_)))
        .map(|part| part.name)
        .collect()
}

/// True when several alternatives of one choice have the member.
fn is_shared(spec: &ArgSpec, name: &str) -> bool {
    match spec.kind {
        ArgKind::OneOf(alternatives) => {
            let has = |alternative: &&ArgSpec| wanted_by(std::slice::from_ref(*alternative), name) > 0;
            alternatives.iter().filter(has).count() > 1 || alternatives.iter().any(|a| is_shared(a, name))
        }
        ArgKind::AnyOrder(parts) | ArgKind::Block(parts) => parts.iter().any(|part| is_shared(part, name)),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
