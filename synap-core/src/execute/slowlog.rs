//! SLOWLOG: the calls that took longer than a setting allows, the newest first.

use std::collections::VecDeque;

use parking_lot::Mutex;

use super::Call;
use super::row::Command;
use super::state::State;
use crate::grammar::Words;
use crate::session::Client;
use crate::settings;

/// Words of a call that are kept, and bytes of each.
const WORDS_MAX: usize = 32;
const WORD_BYTES_MAX: usize = 128;

/// One slow call.
#[derive(Clone, Debug)]
pub struct SlowCall {
    pub id: u64,
    pub at_ms: i64,
    pub micros: u64,
    /// What is left out at the end of a word, or of the words, is told in its place.
    pub words: Vec<Vec<u8>>,
    pub addr: String,
    /// The client's name, cut as a word is: it may be as long as a call.
    pub name: String,
}

#[derive(Debug, Default)]
pub struct Slowlog(Mutex<Calls>);

#[derive(Debug, Default)]
struct Calls {
    next_id: u64,
    newest_first: VecDeque<SlowCall>,
}

impl Slowlog {
    pub(super) fn note(&self, state: &State, call: &Call<'_>, client: &Client, at_ms: i64, micros: u64) {
        let max = usize::try_from(state.settings.int(settings::SLOWLOG_MAX_LEN)).unwrap_or(0);
        if max == 0 {
            return;
        }
        let slow = SlowCall {
            id: 0,
            at_ms,
            micros,
            words: trimmed(call.words, |index| call.row.is_secret(call.words, index)),
            addr: client.addr.clone(),
            name: client.info.lock().name.chars().take(WORD_BYTES_MAX).collect(),
        };
        let mut calls = self.0.lock();
        let id = calls.next_id;
        calls.next_id += 1;
        calls.newest_first.push_front(SlowCall { id, ..slow });
        calls.newest_first.truncate(max);
    }

    /// The `count` newest.
    pub fn newest(&self, count: usize) -> Vec<SlowCall> {
        self.0.lock().newest_first.iter().take(count).cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.0.lock().newest_first.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all. The numbers go on.
    pub fn reset(&self) {
        self.0.lock().newest_first = VecDeque::new();
    }
}

/// The words within the limits; secret ones are not shown.
fn trimmed(words: Words<'_>, is_secret: impl Fn(usize) -> bool) -> Vec<Vec<u8>> {
    let show = |(index, word): (usize, &&[u8])| match is_secret(index) {
        false => trimmed_word(word),
        true => Command::REDACTED.into(),
    };
    let shown = if words.len() > WORDS_MAX { WORDS_MAX - 1 } else { words.len() };
    let mut trimmed: Vec<Vec<u8>> = words[..shown].iter().enumerate().map(show).collect();
    if shown < words.len() {
        trimmed.push(format!("... ({} more arguments)", words.len() - shown).into_bytes());
    }
    trimmed
}

fn trimmed_word(word: &[u8]) -> Vec<u8> {
    match word.get(WORD_BYTES_MAX..).filter(|rest| !rest.is_empty()) {
        None => word.to_vec(),
        Some(rest) => [&word[..WORD_BYTES_MAX], format!("... ({} more bytes)", rest.len()).as_bytes()].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_told_as_a_number() {
        let long = [b'A'; 129];
        assert_eq!(trimmed_word(&long).split_at(128), (&long[..128], &b"... (1 more bytes)"[..]));
        assert_eq!(trimmed_word(&long[..128]), &long[..128]);
        let words = vec![&b"a"[..]; 33];
        let trimmed_words = trimmed(&words, |_| false);
        assert_eq!((trimmed_words.len(), &*trimmed_words[31]), (32, &b"... (2 more arguments)"[..]));
        assert_eq!(
            trimmed(&words[..32], |index| index == 31),
            [vec![b"a".to_vec(); 31], vec![b"(redacted)".to_vec()]].concat()
        );
    }
}
