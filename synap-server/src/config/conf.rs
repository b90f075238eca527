//! Lines as `redis.conf` has them: a name, and words with the quotes of inline calls.

use std::path::{Path, PathBuf};

use synap_core::glob;
use synap_protocols::resp::split_line;

use super::gather::Gather;
use super::read_file;

/// Files that include files that include files …
const DEPTH_MAX: usize = 16;

/// All that one start may include: a file that includes itself twice is read before its depth is noticed.
const FILE_COUNT_MAX: usize = 1000;

/// Takes in the lines of a file.
pub fn read(name: &str, text: &str, gather: &mut Gather) -> Result<(), String> {
    Reading { gather, file_count: 0 }.text(name, text, 0)
}

struct Reading<'a> {
    gather: &'a mut Gather,
    file_count: usize,
}

impl Reading<'_> {
    fn text(&mut self, name: &str, text: &str, depth: usize) -> Result<(), String> {
        for (line, words) in lines(text) {
            let place = format!("{name}:{}", line + 1);
            let words = words.ok_or_else(|| format!("{place}: unbalanced quotes"))?;
            match words.split_first() {
                Some((word, [pattern])) if word.eq_ignore_ascii_case("include") => {
                    self.include(&place, pattern, depth + 1)?;
                }
                Some((word, values)) => self.gather.line(&place, word, values)?,
                None => {}
            }
        }
        Ok(())
    }

    fn include(&mut self, place: &str, pattern: &str, depth: usize) -> Result<(), String> {
        let wrong = |why: String| format!("{place}: include {pattern:?}: {why}");
        if depth > DEPTH_MAX {
            return Err(wrong(format!("more than {DEPTH_MAX} files inside each other")));
        }
        for path in matching(Path::new(pattern)).map_err(wrong)? {
            self.file_count += 1;
            if self.file_count > FILE_COUNT_MAX {
                return Err(wrong(format!("more than {FILE_COUNT_MAX} files")));
            }
            let text = read_file(&path).map_err(wrong)?;
            self.text(&path.to_string_lossy(), &text, depth)?;
        }
        Ok(())
    }
}

/// The file of this name, or those that match when it is a pattern, in order. Only its last part may be one.
fn matching(pattern: &Path) -> Result<Vec<PathBuf>, String> {
    let name = pattern.file_name().unwrap_or_default().to_string_lossy();
    if !name.contains(['*', '?', '[']) {
        return Ok(vec![pattern.into()]);
    }
    let folder = match pattern.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let entries = entries.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    let found = entries.iter().filter(|entry| glob::matches(name.as_bytes(), entry.file_name().as_encoded_bytes()));
    let mut found: Vec<PathBuf> = found.map(std::fs::DirEntry::path).collect();
    found.sort();
    Ok(found)
}

/// The lines that say something, by their index; no words when their quotes do not end.
pub fn lines(text: &str) -> impl Iterator<Item = (usize, Option<Vec<String>>)> {
    let said = text.split('\n').enumerate().map(|(index, line)| (index, line.trim_matches([' ', '\t', '\r'])));
    said.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).map(|(index, line)| (index, split_line(line)))
}

/// What the command line says.
#[derive(Debug, Default)]
pub struct Flags {
    /// Settings come from standard input, too.
    pub stdin: bool,
    /// Each a name and its values, as lines of a file.
    pub lines: Vec<Vec<String>>,
}

/// Reads flags as redis-server does: `--name value value`, `--name` and value as one argument, `--save` without value.
pub fn flags(args: &[String]) -> Result<Flags, String> {
    let mut flags = Flags::default();
    let mut needs_value = false;
    for (index, arg) in args.iter().enumerate() {
        let is_outer = index == 0 || index + 1 == args.len();
        if arg == "-" && is_outer {
            flags.stdin = true;
            continue;
        }
        // A value may begin with two dashes, when it is the first.
        let Some(line) = arg.strip_prefix("--").filter(|_| !needs_value) else {
            if arg.starts_with('-') && !needs_value && flags.lines.is_empty() {
                return Err(format!("{arg}: Bad directive or wrong number of arguments: there is no such setting"));
            }
            match flags.lines.last_mut() {
                Some(words) => words.push(arg.clone()),
                None => flags.lines.push(vec![arg.clone()]),
            }
            needs_value = false;
            continue;
        };
        let mut words = split_line(line).ok_or_else(|| format!("{arg}: unbalanced quotes"))?;
        if let [word] = words.as_slice()
            && let Some((name, value)) = word.split_once('=')
        {
            words = vec![name.into(), value.into()];
        }
        needs_value = words.len() == 1 && words[0] != super::OLDER_SNAPSHOT;
        let is_last = args.get(index + 1).is_none_or(|next| next.starts_with("--"));
        if needs_value && is_last && words[0].eq_ignore_ascii_case("save") {
            words.push(String::new());
            needs_value = false;
        }
        flags.lines.push(words);
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use synap_core::settings::*;

    #[track_caller]
    fn check(text: &str, expected: &[(Id, &str)], warnings: &[&str]) {
        let mut gather = Gather::default();
        read("redis.conf", text, &mut gather).unwrap();
        let (settings, found) = gather.end();
        for (id, value) in expected {
            assert_eq!(settings.show(*id), *value, "{text}");
        }
        assert_eq!(found, warnings, "{text}");
    }

    #[test]
    fn lines_are_read_as_redis_reads_them() {
        check("# a comment\n\n  port 7000  \r\n\tMAXCLIENTS\t5", &[(PORT, "7000"), (MAXCLIENTS, "5")], &[]);
        check("bind 127.0.0.1 -::1", &[(BIND, "127.0.0.1 -::1")], &[]);
        check("requirepass \"a b\\x41\"\nunixsocket '/tmp/it\\'s'", &[(REQUIREPASS, "a bA")], &[]);
        check("save 900 1\nsave 300 10", &[(SAVE, "900 1 300 10")], &[]);
        check("save 900 1\nsave \"\"", &[(SAVE, "")], &[]);
        check("save \"\"\nsave 1 2", &[(SAVE, "1 2")], &[]);
        check("save 900 1\nsave ", &[(SAVE, "")], &[]);
        check("hash-max-ziplist-entries 7", &[(HASH_MAX_LISTPACK_ENTRIES, "7")], &[]);
        check("maxmemory 1gb\nmaxmemory 5m", &[(MAXMEMORY, "5000000")], &[]);
        check(
            "client-output-buffer-limit normal 1kb 0 0\nclient-output-buffer-limit replica 0 0 0",
            &[(CLIENT_OUTPUT_BUFFER_LIMIT, "normal 1024 0 0 slave 0 0 0 pubsub 33554432 8388608 60")],
            &[],
        );
    }

    #[test]
    fn what_has_no_effect_is_told() {
        check(
            "hz 10\ndaemonize yes\nloadmodule a.so b\nactivedefrag yes",
            &[(DAEMONIZE, "yes")],
            &[
                "redis.conf:3: loadmodule is not known here, and left out",
                "without effect here (docs/configuration.md says why): daemonize, activedefrag",
            ],
        );
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        let check = |text: &str, why: &str| {
            assert_eq!(read("redis.conf", text, &mut Gather::default()).unwrap_err(), why);
        };
        check("\nport x", "redis.conf:2: port \"x\": argument couldn't be parsed into an integer");
        check("port", "redis.conf:1: port: wrong number of arguments");
        check("port 1 2", "redis.conf:1: port \"1\" \"2\": wrong number of arguments");
        check("save 1", "redis.conf:1: save \"1\": Invalid save parameters");
        check("a\nrequirepass \"a", "redis.conf:2: unbalanced quotes");
        let said = read("redis.conf", "include no/such", &mut Gather::default()).unwrap_err();
        assert!(said.starts_with("redis.conf:1: include \"no/such\": no/such: "), "{said}");
    }

    #[test]
    fn files_are_included_where_they_are_named() {
        let folder = std::env::temp_dir().join(format!("synap-include-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = |name: &str| folder.join(name).to_str().unwrap().to_string();
        for (name, text) in [("a.conf", "port 1\ntimeout 1"), ("b.conf", "port 2"), ("c.txt", "port 3")] {
            std::fs::write(path(name), text).unwrap();
        }
        std::fs::write(path("self.conf.x"), format!("include {}", path("self.conf.x"))).unwrap();
        std::fs::write(path("bad.txt"), "\n\nport x").unwrap();
        check(&format!("include {}", path("*.conf")), &[(PORT, "2"), (TIMEOUT, "1")], &[]);
        check(&format!("port 5\ninclude {}\ntimeout 9", path("a.conf")), &[(PORT, "1"), (TIMEOUT, "9")], &[]);
        let said = |text: &str| read("redis.conf", text, &mut Gather::default()).unwrap_err();
        assert!(said(&format!("include {}", path("self.conf.x"))).ends_with("more than 16 files inside each other"));
        assert!(said(&format!("include {}", path("bad.txt"))).starts_with(&format!("{}:3: port", path("bad.txt"))));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
