//! Random JSON and query forms of generated calls, for tests: the other direction of [`super::lower()`], written
//! independently of it.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use synap_core::grammar::generate::{Choices, Given};

use super::members::{
    all_flags, each_member, has_direct_parts, is_scalar, is_token_choice, pair_parts, path_arguments, wanted_by,
};
use crate::spec::{ArgKind, ArgSpec, Repeat};

/// One object of named arguments: members in any order, each value in any of its forms, blanks anywhere.
pub fn json(specs: &[ArgSpec], given: &[Given], choices: &mut Choices) -> String {
    let mut members = Vec::new();
    for (spec, given) in specs.iter().zip(given) {
        argument(specs, spec, given, &mut members, choices);
    }
    object(members, choices)
}

fn object(mut members: Vec<(String, String)>, choices: &mut Choices) -> String {
    let mut out = format!("{{{}", blank(choices));
    while !members.is_empty() {
        let (name, value) = members.remove(choices.below(members.len() as u32) as usize);
        let comma = if members.is_empty() { "" } else { "," };
        out +=
            &format!("{}{}:{}{value}{}{comma}", string(&name, choices), blank(choices), blank(choices), blank(choices));
    }
    out + "}"
}

fn argument(
    scope: &[ArgSpec],
    spec: &ArgSpec,
    given: &Given,
    members: &mut Vec<(String, String)>,
    choices: &mut Choices,
) {
    let own = spec.name.to_string();
    match (spec.kind, given) {
        (ArgKind::Flag, Given::Absent) if choices.below(4) == 1 => members.push((own, "false".into())),
        (ArgKind::AnyOrder(_), Given::Absent) => (),
        (ArgKind::OneOf(_), Given::Absent) if !is_token_choice(spec) => (),
        (_, Given::Absent) => {
            if choices.below(6) == 1 {
                members.push((own, "null".into()));
            }
        }
        (ArgKind::Flag, _) => members.push((own, "true".into())),
        (ArgKind::AnyOrder(options), Given::Group(values)) => {
            for (spec, given) in options.iter().zip(values) {
                argument(scope, spec, given, members, choices);
            }
        }
        (ArgKind::OneOf(alternatives), Given::Choice(index, given_inside)) if !is_token_choice(spec) => {
            let chosen = ArgSpec { optional: false, ..alternatives[*index] };
            if is_told_by_its_parts(alternatives, *index, given_inside) {
                argument(scope, &chosen, given_inside, members, choices);
            } else {
                members.push((chosen.name.into(), value(&chosen, given_inside, choices)));
            }
        }
        (ArgKind::Block(parts), Given::Group(values)) if can_be_direct(scope, spec, values) && choices.coin() => {
            for (spec, given) in parts.iter().zip(values) {
                argument(scope, spec, given, members, choices);
            }
        }
        (ArgKind::Block(parts), Given::Many(items)) if items.len() == 1 && choices.coin() => {
            let Given::Group(values) = &items[0] else { panic!("a block is a group") };
            if can_be_direct(scope, spec, values) {
                for (spec, given) in parts.iter().zip(values) {
                    argument(scope, spec, given, members, choices);
                }
            } else {
                members.push((own, value(spec, given, choices)));
            }
        }
        _ => members.push((own, value(spec, given, choices))),
    }
}

/// Something of the block is given, and no other argument has the names of its parts.
fn can_be_direct(scope: &[ArgSpec], block: &ArgSpec, values: &[Given]) -> bool {
    has_direct_parts(scope, block) && values.iter().any(holds_a_word)
}

/// The alternative is no block, or one of its given parts has a name that no other alternative has.
fn is_told_by_its_parts(alternatives: &[ArgSpec], index: usize, given: &Given) -> bool {
    let (ArgKind::Block(parts), false) =
        (alternatives[index].kind, matches!(given, Given::Many(items) if items.len() > 1))
    else {
        return true;
    };
    let values = match given {
        Given::Many(items) => &items[0],
        given => given,
    };
    let Given::Group(values) = values else { panic!("a block is a group") };
    let elsewhere = |name| {
        let others = alternatives.iter().enumerate().filter(|(other, _)| *other != index);
        others.map(|(_, other)| wanted_by(std::slice::from_ref(other), name)).sum::<usize>() > 0
    };
    parts.iter().zip(values).any(|(part, value)| {
        let mut is_told = false;
        each_member(part, &mut |member| is_told |= holds_a_word(value) && !elsewhere(member.name));
        is_told
    })
}

fn holds_a_word(given: &Given) -> bool {
    match given {
        Given::Absent => false,
        Given::Flag | Given::Word(_) | Given::Choice(..) | Given::Many(_) => true,
        Given::Group(values) => values.iter().any(holds_a_word),
    }
}

/// All occurrences of an argument as one value.
fn value(spec: &ArgSpec, given: &Given, choices: &mut Choices) -> String {
    let Given::Many(items) = given else { return occurrence(spec, given, choices) };
    if let Some((first, second)) = pair_parts(&spec.kind)
        && choices.coin()
        && let Some(pairs) = pairs(first, second, items, choices)
    {
        return pairs;
    }
    let single = !matches!(spec.kind, ArgKind::Block(_)) && items.len() == 1;
    if single && choices.coin() {
        let value = occurrence(spec, &items[0], choices);
        // An array is taken for the list itself.
        if !value.starts_with('[') {
            return value;
        }
    }
    let items = items.iter().map(|item| occurrence(spec, item, choices)).collect();
    array(items, choices)
}

fn array(items: Vec<String>, choices: &mut Choices) -> String {
    let items: Vec<_> = items.into_iter().map(|item| item + blank(choices)).collect();
    format!("[{}{}]", blank(choices), items.join(","))
}

/// Pairs as an object, when their names differ and the call is not one pair that looks like bytes.
fn pairs(first: &ArgSpec, second: &ArgSpec, items: &[Given], choices: &mut Choices) -> Option<String> {
    let mut members = Vec::new();
    for item in items {
        let Given::Group(values) = item else { panic!("a block is a group") };
        let name = match (&values[0], first.kind) {
            (Given::Word(name), _) => name.clone(),
            (Given::Choice(..), _) => return None,
            other => panic!("{other:?} is no scalar"),
        };
        let name = match String::from_utf8(name) {
            Ok(text) if text != "base64" && !text.starts_with("base64:") => text,
            Ok(text) => format!("base64:{}", STANDARD.encode(text)),
            Err(error) => format!("base64:{}", STANDARD_NO_PAD.encode(error.into_bytes())),
        };
        if members.iter().any(|(other, _)| *other == name) {
            return None;
        }
        members.push((name, occurrence(second, &values[1], choices)));
    }
    // Order means something here.
    let text: Vec<_> = members.into_iter().map(|(name, value)| format!("{}:{value}", string(&name, choices))).collect();
    Some(format!("{{{}}}", text.join(",")))
}

fn occurrence(spec: &ArgSpec, given: &Given, choices: &mut Choices) -> String {
    match (spec.kind, given) {
        (ArgKind::Flag, _) => "true".into(),
        (ArgKind::Int { .. } | ArgKind::Float { .. }, Given::Word(word)) => {
            let is_json_number = serde_json::from_slice::<&serde_json::value::RawValue>(word).is_ok();
            if is_json_number && choices.below(3) != 1 { text(word) } else { string(&text(word), choices) }
        }
        (_, Given::Word(word)) => bytes(word, choices),
        (ArgKind::OneOf(alternatives), Given::Choice(index, _)) if all_flags(alternatives) => {
            let token = alternatives[*index].token;
            string(&if choices.coin() { token.to_lowercase() } else { token.into() }, choices)
        }
        (ArgKind::OneOf(_), Given::Choice(..)) => {
            let one = ArgSpec { token: "", optional: false, repeat: Repeat::Once, ..*spec };
            json(&[one], std::slice::from_ref(given), choices)
        }
        (ArgKind::Block(parts), Given::Group(values)) if in_order_possible(parts) && choices.coin() => {
            let item = |(spec, given): (&ArgSpec, &Given)| match given {
                Given::Absent => "null".to_string(),
                given => value(spec, given, choices),
            };
            let items = parts.iter().zip(values).map(item).collect();
            array(items, choices)
        }
        (ArgKind::Block(parts) | ArgKind::AnyOrder(parts), Given::Group(values)) => json(parts, values, choices),
        other => panic!("{other:?} do not go together"),
    }
}

/// An absent choice or group of options cannot be told from a null that is missing in every form.
fn in_order_possible(parts: &[ArgSpec]) -> bool {
    parts.iter().all(|part| !matches!(part.kind, ArgKind::AnyOrder(_)))
}

/// Bytes in any form that stands for them.
fn bytes(bytes: &[u8], choices: &mut Choices) -> String {
    let form = choices.below(4);
    match std::str::from_utf8(bytes) {
        // Compact JSON text stands for itself.
        Ok("9007199254740993" | "1e400" | "1.0" | "10" | "-0" | "[1,{\"a\":[]}]") if form == 1 => text(bytes),
        Ok(text) if form != 2 => string(text, choices),
        _ if choices.coin() => format!("{{{}\"base64\":\"{}\"}}", blank(choices), STANDARD_NO_PAD.encode(bytes)),
        _ => format!("{{\"b\\u0061se64\" : \"{}\"}}", STANDARD.encode(bytes)),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("it was generated as text")
}

fn string(text: &str, choices: &mut Choices) -> String {
    if text.len() < 100 && choices.below(4) == 1 {
        let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        return format!("\"{escaped}\"");
    }
    serde_json::to_string(text).expect("text")
}

fn blank(choices: &mut Choices) -> &'static str {
    ["", "", "", " ", "\n\t", "\r "][choices.below(6) as usize]
}

/// Path segments and a query of a generated call.
pub fn query(specs: &[ArgSpec], given: &[Given], choices: &mut Choices) -> (Vec<String>, String) {
    let in_path = choices.below(1 + path_arguments(specs).count() as u32) as usize;
    let mut segments = Vec::new();
    let mut pairs = Vec::new();
    for (index, (spec, given)) in specs.iter().zip(given).enumerate() {
        if index < in_path {
            segments.push(percent(&scalar(spec, given), false, choices));
        } else {
            query_argument(specs, spec, given, &mut pairs, choices);
        }
    }
    let pairs: Vec<_> = pairs
        .into_iter()
        .map(|(name, value)| match value {
            Some(value) => format!("{}={}", percent(name.as_bytes(), true, choices), percent(&value, true, choices)),
            None => name,
        })
        .collect();
    (segments, pairs.join("&"))
}

fn query_argument(
    scope: &[ArgSpec],
    spec: &ArgSpec,
    given: &Given,
    pairs: &mut Vec<(String, Option<Vec<u8>>)>,
    choices: &mut Choices,
) {
    let own = spec.name.to_string();
    match (spec.kind, given) {
        (ArgKind::Flag, Given::Flag) => {
            pairs.push((own, [None, Some(b"true".to_vec()), Some(b"1".to_vec())][choices.below(3) as usize].clone()))
        }
        (_, Given::Absent) => (),
        (ArgKind::AnyOrder(options), Given::Group(values)) => {
            for (spec, given) in options.iter().zip(values) {
                query_argument(scope, spec, given, pairs, choices);
            }
        }
        (ArgKind::OneOf(alternatives), Given::Choice(index, given_inside)) if !is_token_choice(spec) => {
            let chosen = ArgSpec { optional: false, ..alternatives[*index] };
            if is_told_by_its_parts(alternatives, *index, given_inside) {
                query_argument(scope, &chosen, given_inside, pairs, choices);
            } else {
                pairs.push((chosen.name.into(), Some(value(&chosen, given_inside, choices).into_bytes())));
            }
        }
        (ArgKind::Block(parts), Given::Group(values)) if can_be_direct(scope, spec, values) && choices.coin() => {
            for (spec, given) in parts.iter().zip(values) {
                query_argument(scope, spec, given, pairs, choices);
            }
        }
        (ArgKind::Block(parts), Given::Many(items))
            if has_direct_parts(scope, spec)
                && parts.iter().all(|p| is_scalar(p) && p.repeat == Repeat::Once && !p.optional)
                && choices.coin() =>
        {
            for item in items {
                let Given::Group(values) = item else { panic!("a block is a group") };
                pairs.extend(parts.iter().zip(values).map(|(s, g)| (s.name.to_string(), Some(scalar(s, g)))));
            }
        }
        (_, Given::Many(items)) if is_scalar(spec) => {
            pairs.extend(items.iter().map(|item| (own.clone(), Some(scalar(spec, item)))));
        }
        _ if is_scalar(spec) => pairs.push((own, Some(scalar(spec, given)))),
        _ => pairs.push((own, Some(value(spec, given, choices).into_bytes()))),
    }
}

fn scalar(spec: &ArgSpec, given: &Given) -> Vec<u8> {
    match (spec.kind, given) {
        (_, Given::Word(word)) => word.clone(),
        (ArgKind::OneOf(alternatives), Given::Choice(index, _)) => alternatives[*index].token.as_bytes().to_vec(),
        other => panic!("{other:?} is no scalar"),
    }
}

fn percent(bytes: &[u8], in_query: bool, choices: &mut Choices) -> String {
    let mut out = String::new();
    for &byte in bytes {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' if choices.below(5) != 1 => out.push(char::from(byte)),
            b' ' if in_query && choices.coin() => out.push('+'),
            b'+' if !in_query && choices.coin() => out.push('+'),
            _ if choices.coin() => out += &format!("%{byte:02x}"),
            _ => out += &format!("%{byte:02X}"),
        }
    }
    out
}
