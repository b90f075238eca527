//! Operations as paths, both ways.

use smallvec::SmallVec;

use crate::json::members::path_arguments;
use crate::spec::ArgSpec;

/// What all paths here begin with; the functions of this module take and give paths behind it.
pub const PREFIX: &str = "/api/v1";

/// Words in the name of an operation at the most: `client.tracking.info` has three.
pub const OP_WORD_COUNT_MAX: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Delete,
}

/// Which methods an operation has beside POST, which all have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verbs {
    /// It only reads.
    pub get: bool,
    /// It removes what its arguments name.
    pub delete: bool,
}

impl Verbs {
    /// The value of an `Allow` header of the operation's path, or of one with arguments behind it. A POST has them in its
    /// body, which is what is told where nothing else is possible.
    pub const fn allow(self, has_arguments: bool) -> &'static str {
        match (self.get, self.delete, has_arguments) {
            (false, false, _) => "POST",
            (true, false, false) => "GET, HEAD, POST",
            (false, true, false) => "DELETE, POST",
            (true, true, false) => "DELETE, GET, HEAD, POST",
            (true, false, true) => "GET, HEAD",
            (false, true, true) => "DELETE",
            (true, true, true) => "DELETE, GET, HEAD",
        }
    }

    pub const fn has(self, method: Method) -> bool {
        match method {
            Method::Get => self.get,
            Method::Post => true,
            Method::Delete => self.delete,
        }
    }
}

/// A path that names an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route<'p, T> {
    pub operation: T,
    /// What follows the operation, still percent-encoded. An empty one is an argument that is empty.
    pub segments: SmallVec<[&'p str; 4]>,
}

/// A path that leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// 404.
    NotFound,
    /// 405, and what would be allowed.
    Method(&'static str),
}

/// `hash.set` as `/hash/set`.
pub fn path(op: &str) -> String {
    format!("/{}", op.replace('.', "/"))
}

/// The path of GET and DELETE with its arguments: `/hash/get/{key}/{field}`.
pub fn template(op: &str, args: &[ArgSpec]) -> String {
    path_arguments(args).fold(path(op), |path, spec| path + "/{" + spec.name + "}")
}

/// The operation that `path` names, and its arguments. `find` knows the operations; where one's name begins with
/// another's, the longer one is taken.
pub fn parse<'p, T>(
    method: Method,
    path: &'p str,
    find: impl Fn(&str) -> Option<(T, Verbs)>,
) -> Result<Route<'p, T>, Miss> {
    let segments: SmallVec<[&str; 8]> = path.strip_prefix('/').ok_or(Miss::NotFound)?.split('/').collect();
    for word_count in (1..=segments.len().min(OP_WORD_COUNT_MAX)).rev() {
        let (op, arguments) = segments.split_at(word_count);
        if op.iter().any(|word| word.contains('.')) {
            continue; // a dot is a slash here
        }
        let Some((operation, verbs)) = find(&op.join(".")) else { continue };
        let is_post_with_arguments = method == Method::Post && !arguments.is_empty();
        if is_post_with_arguments && verbs == Verbs::default() {
            return Err(Miss::NotFound);
        }
        if is_post_with_arguments || !verbs.has(method) {
            return Err(Miss::Method(verbs.allow(!arguments.is_empty())));
        }
        return Ok(Route { operation, segments: SmallVec::from_slice(arguments) });
    }
    Err(Miss::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::samples::*;

    fn parsed(method: Method, path: &str) -> Result<(String, Vec<&str>), Miss> {
        let find = |op: &str| match op {
            "hash.get" => Some((op.to_string(), Verbs { get: true, delete: false })),
            "hash.set" | "client.kill" | "client.kill.all" => Some((op.to_string(), Verbs::default())),
            "key.delete" => Some((op.to_string(), Verbs { get: false, delete: true })),
            _ => None,
        };
        parse(method, path, find).map(|route| (route.operation, route.segments.into_vec()))
    }

    #[track_caller]
    fn leads(method: Method, path: &str, op: &str, segments: &[&str]) {
        assert_eq!(parsed(method, path), Ok((op.into(), segments.to_vec())));
    }

    #[test]
    fn operations_are_paths() {
        assert_eq!(path("hash.set"), "/hash/set");
        assert_eq!(template("hash.get", HGET), "/hash/get/{key}/{field}");
        assert_eq!(template("key.scan", SCAN), "/key/scan/{cursor}");
        assert_eq!(template("set.pop", SPOP), "/set/pop/{key}");
        assert_eq!(template("key.delete", DEL), "/key/delete");
        assert_eq!(template("list.move", BLMOVE), "/list/move/{source}/{destination}/{from}/{to}/{timeout}");
    }

    #[test]
    fn paths_lead_to_operations() {
        leads(Method::Post, "/hash/set", "hash.set", &[]);
        leads(Method::Post, "/hash/get", "hash.get", &[]);
        leads(Method::Get, "/hash/get", "hash.get", &[]);
        leads(Method::Get, "/hash/get/a%2Fb/f", "hash.get", &["a%2Fb", "f"]);
        leads(Method::Get, "/hash/get//", "hash.get", &["", ""]);
        leads(Method::Delete, "/key/delete", "key.delete", &[]);
        leads(Method::Post, "/client/kill/all", "client.kill.all", &[]);
        leads(Method::Post, "/client/kill", "client.kill", &[]);
    }

    #[test]
    fn other_paths_lead_nowhere() {
        for path in
            ["", "/", "hash/set", "/hash", "/hash/set/", "/hash/set/key", "/hash.set", "/Hash/Set", "//hash/set"]
        {
            assert_eq!(parsed(Method::Post, path), Err(Miss::NotFound), "{path}");
        }
        assert_eq!(parsed(Method::Get, "/hash/set"), Err(Miss::Method("POST")));
        assert_eq!(parsed(Method::Get, "/hash/set/k"), Err(Miss::Method("POST")));
        assert_eq!(parsed(Method::Delete, "/hash/get"), Err(Miss::Method("GET, HEAD, POST")));
        assert_eq!(parsed(Method::Delete, "/hash/get/k"), Err(Miss::Method("GET, HEAD")));
        assert_eq!(parsed(Method::Post, "/hash/get/k"), Err(Miss::Method("GET, HEAD")));
        assert_eq!(parsed(Method::Post, "/key/delete/k"), Err(Miss::Method("DELETE")));
    }
}
