//! The same names in TOML: `maxmemory = "1gb"`, `port = 7000`, `appendonly = true`, `bind = ["127.0.0.1", "-::1"]`.

use std::ops::Range;

use synap_core::settings::{Id, Settings};
use toml::de::{DeTable, DeValue};

use super::gather::{Gather, USER};

/// Takes in a file.
pub fn read(name: &str, text: &str, gather: &mut Gather) -> Result<(), String> {
    let file = parse(name, text)?;
    file.users.iter().flat_map(|users| &users.texts).for_each(|user| gather.user(user));
    for entry in file.entries {
        gather
            .set(entry.id, &entry.value)
            .map_err(|why| format!("{name}:{}: {} = {:?}: {why}", entry.line, entry.name, entry.value))?;
    }
    Ok(())
}

/// A setting in a file.
pub struct Entry {
    pub id: Id,
    name: String,
    pub value: String,
    /// Where the value stands, as bytes of the file.
    pub span: Range<usize>,
    line: usize,
}

/// What a file says.
pub struct File {
    /// In their order.
    pub entries: Vec<Entry>,
    pub users: Option<Users>,
}

/// `user = ["ann on nopass ~*", "bob on nopass"]`
pub struct Users {
    pub texts: Vec<String>,
    /// Where the list stands, as bytes of the file.
    pub span: Range<usize>,
}

pub fn parse(name: &str, text: &str) -> Result<File, String> {
    let line_at = |at: usize| text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1;
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_at(span.start));
        format!("{name}:{line}: {}", error.message())
    })?;
    let mut entries = Vec::new();
    let mut users = None;
    for (key, value) in table.get_ref() {
        let line = line_at(key.span().start);
        let wrong = |why: &str| format!("{name}:{line}: {}: {why}", key.get_ref());
        if key.get_ref().eq_ignore_ascii_case(USER) {
            users = Some(Users { texts: texts(value.get_ref()).map_err(wrong)?, span: value.span() });
            continue;
        }
        let id = Settings::find(key.get_ref()).ok_or_else(|| wrong("there is no such setting"))?;
        if entries.iter().any(|entry: &Entry| entry.id == id) {
            return Err(wrong("it is there under its other name, too"));
        }
        let value_text = plain(value.get_ref()).map_err(wrong)?;
        let name = key.get_ref().to_string();
        entries.push(Entry { id, name, value: value_text, span: value.span(), line });
    }
    entries.sort_by_key(|entry| entry.span.start);
    Ok(File { entries, users })
}

/// One text, or a list of them.
fn texts(value: &DeValue<'_>) -> Result<Vec<String>, &'static str> {
    match value {
        DeValue::String(text) => Ok(vec![text.to_string()]),
        DeValue::Array(items) => {
            let text = |item: &DeValue<'_>| item.as_str().map(str::to_string).ok_or("expected a list of texts");
            items.iter().map(|item| text(item.get_ref())).collect()
        }
        _ => Err("expected a list of texts"),
    }
}

/// A value as `redis.conf` would have it.
fn plain(value: &DeValue<'_>) -> Result<String, &'static str> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Boolean(yes) => Ok(if *yes { "yes" } else { "no" }.into()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_string()),
        DeValue::Array(items) => {
            let words = items.iter().map(|item| match item.get_ref() {
                DeValue::Array(_) => Err("a list of lists"),
                other => plain(other),
            });
            Ok(words.collect::<Result<Vec<_>, _>>()?.join(" "))
        }
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => {
            Err("expected a text, a decimal number, true, false, or a list of them")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use synap_core::settings::*;

    fn gathered(text: &str) -> Result<Settings, String> {
        let mut gather = Gather::default();
        read("synap.toml", text, &mut gather)?;
        Ok(gather.end().0)
    }

    #[test]
    fn users_are_a_list() {
        let mut gather = Gather::default();
        read("synap.toml", "user = [\"ann on  nopass\", 'bob off']", &mut gather).unwrap();
        assert_eq!(gather.take_users(), [&[&b"ann"[..], b"on", b"nopass"][..], &[b"bob", b"off"]]);
        assert!(gathered("user = [1]").err().unwrap().ends_with("user: expected a list of texts"));
    }

    #[test]
    fn values_are_those_of_redis_conf() {
        let text = r#"
            # comments stay
            port = 7000
            maxmemory = "1gb"
            appendonly = false
            bind = ["127.0.0.1", "-::1"]
            save = ["3600 1", "60 1000"]
            slowlog-log-slower-than = -1
            "hash-max-ziplist-entries" = 7
            client-output-buffer-limit = ["normal 1mb 0 0"]
        "#;
        let settings = gathered(text).unwrap();
        for (id, value) in [
            (PORT, "7000"),
            (MAXMEMORY, "1073741824"),
            (APPENDONLY, "no"),
            (BIND, "127.0.0.1 -::1"),
            (SAVE, "3600 1 60 1000"),
            (SLOWLOG_LOG_SLOWER_THAN, "-1"),
            (HASH_MAX_LISTPACK_ENTRIES, "7"),
            (CLIENT_OUTPUT_BUFFER_LIMIT, "normal 1048576 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"),
        ] {
            assert_eq!(settings.show(id), value, "{}", id.setting().name);
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        let check = |text: &str, why: &str| {
            let said = gathered(text).err().unwrap();
            assert!(said.starts_with(why), "{said}");
        };
        check("\nport = \"x\"", "synap.toml:2: port = \"x\": argument couldn't be parsed into an integer");
        check("no-such = 1", "synap.toml:1: no-such: there is no such setting");
        check("\n\nport = 1.5", "synap.toml:3: port: expected a text, a decimal number");
        check("[port]\na = 1", "synap.toml:1: port: expected");
        check("port = 1\nport = 2", "synap.toml:2: ");
        check("port = ", "synap.toml:1: ");
        let twice = "hash-max-ziplist-value = 1\nhash-max-listpack-value = 1";
        assert!(gathered(twice).err().unwrap().ends_with("it is there under its other name, too"));
        assert!(gathered(&format!("bind = {}", "[".repeat(100_000))).is_err());
    }
}
