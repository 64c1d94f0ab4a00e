//! Bytes for property tests of parsers: valid examples with a few edits, because plain random bytes reach no further
//! than a parser's first line.

use std::fmt;

use proptest::prelude::*;
use proptest::sample::{Index, select};

/// A change of some bytes, at a place that is chosen when they are known.
#[derive(Debug, Clone)]
enum Edit {
    Insert(Index, Vec<u8>),
    Replace(Index, u8),
    /// Removes up to this many bytes.
    Remove(Index, usize),
    /// Copies the bytes between the two places to the second, so that members and entries are given twice.
    Copy(Index, Index),
    /// Inserts a text many times in a row: nesting, and lengths beyond limits.
    Repeat(Index, &'static str, usize),
}

impl Edit {
    fn apply(&self, text: &mut Vec<u8>) {
        let place = |index: &Index| index.index(text.len() + 1);
        match self {
            Self::Insert(at, new) => drop(text.splice(place(at)..place(at), new.iter().copied())),
            Self::Replace(at, new) => {
                let at = place(at);
                if let Some(byte) = text.get_mut(at) {
                    *byte = *new;
                }
            }
            Self::Remove(at, most) => {
                let at = place(at);
                text.drain(at..text.len().min(at + most));
            }
            Self::Copy(one, other) => {
                let (begin, end) = (place(one).min(place(other)), place(one).max(place(other)));
                let copy = text[begin..end].to_vec();
                text.splice(end..end, copy);
            }
            Self::Repeat(at, new, times) => {
                let at = place(at);
                text.splice(at..at, new.repeat(*times).into_bytes());
            }
        }
    }
}

/// Bytes that a failed test prints as text.
#[derive(Clone)]
pub(crate) struct Mutated(pub(crate) Vec<u8>);

impl fmt::Debug for Mutated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// One of the examples, with up to six edits. `words` are texts that mean something to the parser.
pub(crate) fn mutated(
    examples: &'static [&'static str],
    words: &'static [&'static str],
) -> impl Strategy<Value = Mutated> {
    let new = prop_oneof![
        4 => select(words).prop_map(|word| word.as_bytes().to_vec()),
        1 => select(examples).prop_map(|example| example.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    let edit = prop_oneof![
        6 => (any::<Index>(), new).prop_map(|(at, new)| Edit::Insert(at, new)),
        2 => (any::<Index>(), any::<u8>()).prop_map(|(at, new)| Edit::Replace(at, new)),
        2 => (any::<Index>(), 1_usize..12).prop_map(|(at, most)| Edit::Remove(at, most)),
        2 => (any::<Index>(), any::<Index>()).prop_map(|(one, other)| Edit::Copy(one, other)),
        1 => (any::<Index>(), select(words), 1_usize..300)
            .prop_map(|(at, new, times)| Edit::Repeat(at, new, times)),
    ];
    (select(examples), prop::collection::vec(edit, 0..6)).prop_map(|(example, edits)| {
        let mut text = example.as_bytes().to_vec();
        for edit in edits {
            edit.apply(&mut text);
        }
        Mutated(text)
    })
}
