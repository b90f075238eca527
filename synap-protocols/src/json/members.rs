//! Which members an argument has: the part of the contract that lowering, schemas and routes share.
//!
//! An argument has a member of its own name, with these exceptions: a choice and options in any order have none, their
//! alternatives and options have theirs. A choice between bare tokens is one string under its own name, though, when
//! it is required or introduced by a token (`AGGREGATE SUM | MIN | MAX`). A block has a member of its own name *and*
//! those of its parts. An alternative of a choice counts as required, whatever its spec says: it was chosen.

use crate::spec::{ArgKind, ArgSpec, Repeat};

/// True when all alternatives are bare tokens.
pub fn all_flags(alternatives: &[ArgSpec]) -> bool {
    alternatives.iter().all(|alternative| matches!(alternative.kind, ArgKind::Flag))
}

/// True for a choice that is given as its token in a string, under its own name.
pub fn is_token_choice(spec: &ArgSpec) -> bool {
    has_own_name(spec, !spec.optional) && matches!(spec.kind, ArgKind::OneOf(alternatives) if all_flags(alternatives))
}

/// True when the argument is given under its own name.
fn has_own_name(spec: &ArgSpec, is_required: bool) -> bool {
    let is_once = spec.repeat == Repeat::Once;
    match spec.kind {
        ArgKind::AnyOrder(_) => !is_once,
        ArgKind::OneOf(alternatives) => {
            !is_once || (all_flags(alternatives) && (is_required || !spec.token.is_empty()))
        }
        _ => true,
    }
}

/// True when one occurrence is one word, given as one value: no flag, nothing with members inside.
pub fn is_scalar(spec: &ArgSpec) -> bool {
    match spec.kind {
        ArgKind::Flag | ArgKind::Block(_) | ArgKind::AnyOrder(_) => false,
        ArgKind::OneOf(_) => is_token_choice(spec),
        ArgKind::Key(_) | ArgKind::Bytes | ArgKind::Pattern | ArgKind::Form { .. } | ArgKind::Channel { .. } => true,
        ArgKind::Int { .. } | ArgKind::Float { .. } => true,
    }
}

/// The two parts of a block that may be given as an object of pairs.
pub fn pair_parts(kind: &ArgKind) -> Option<(&'static ArgSpec, &'static ArgSpec)> {
    let plain =
        |part: &ArgSpec| is_scalar(part) && !part.optional && part.token.is_empty() && part.repeat == Repeat::Once;
    match kind {
        ArgKind::Block([first, second]) if plain(first) && plain(second) => Some((first, second)),
        _ => None,
    }
}

/// The arguments that a GET or DELETE route takes from its path: the required single ones before the first other.
pub fn path_arguments(specs: &[ArgSpec]) -> impl Iterator<Item = &ArgSpec> {
    specs.iter().take_while(|spec| !spec.optional && spec.repeat == Repeat::Once && is_scalar(spec))
}

/// Calls `found` with every argument that has a member of its own among those of `spec`.
pub fn each_member<'s>(spec: &'s ArgSpec, found: &mut dyn FnMut(&'s ArgSpec)) {
    walk(spec, !spec.optional, found);
}

fn walk<'s>(spec: &'s ArgSpec, is_required: bool, found: &mut dyn FnMut(&'s ArgSpec)) {
    if has_own_name(spec, is_required) {
        found(spec);
    }
    match spec.kind {
        ArgKind::OneOf(alternatives) if !has_own_name(spec, is_required) => {
            alternatives.iter().for_each(|alternative| walk(alternative, true, found));
        }
        ArgKind::AnyOrder(options) if !has_own_name(spec, is_required) => {
            options.iter().for_each(|option| each_member(option, found));
        }
        ArgKind::Block(parts) => parts.iter().for_each(|part| each_member(part, found)),
        _ => (),
    }
}

/// How many arguments want the member `name`. Alternatives of one choice share it.
pub fn wanted_by(specs: &[ArgSpec], name: &str) -> usize {
    specs.iter().map(|spec| wanted_by_one(spec, !spec.optional, name)).sum()
}

fn wanted_by_one(spec: &ArgSpec, is_required: bool, name: &str) -> usize {
    let own_name = has_own_name(spec, is_required);
    let inside = match spec.kind {
        ArgKind::OneOf(alternatives) if !own_name => {
            alternatives.iter().map(|alternative| wanted_by_one(alternative, true, name)).max().unwrap_or(0)
        }
        ArgKind::AnyOrder(options) if !own_name => wanted_by(options, name),
        ArgKind::Block(parts) => wanted_by(parts, name),
        _ => 0,
    };
    usize::from(own_name && spec.name == name) + inside
}

/// True when the parts of `block` may be given beside the other members of `scope`: no name is wanted twice.
pub fn has_direct_parts(scope: &[ArgSpec], block: &ArgSpec) -> bool {
    let ArgKind::Block(parts) = block.kind else { return false };
    let mut clashes = false;
    for part in parts {
        each_member(part, &mut |member| clashes |= wanted_by(scope, member.name) > 1);
    }
    !clashes
}

/// A name that two arguments of a command want; a test of the table asks for it. The parts of a block whose names are
/// taken are given under the block's own name only.
pub fn clash(specs: &[ArgSpec]) -> Option<&'static str> {
    let mut found = None;
    for spec in specs {
        each_member(spec, &mut |member| {
            if found.is_none() && wanted_by(specs, member.name) > 1 {
                found = Some(member.name);
            }
        });
    }
    found
}
