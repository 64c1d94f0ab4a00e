//! How a suite says that a promise is broken: its name, what was expected, and what came.

use std::fmt::{Debug, Display};

use crate::shown::{Shown, difference};

/// One promise of a port, as its documentation states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Clause {
    /// Short, and unique within all suites.
    pub name: &'static str,
    /// What must hold.
    pub promise: &'static str,
}

/// The clauses of a suite: a constant for each, and `CLAUSES`, which lists them in the order of their definition.
macro_rules! clauses {
    ($(#[$doc:meta])* $($constant:ident = $name:literal: $promise:literal;)+) => {
        $(#[$doc])*
        pub const CLAUSES: &[$crate::Clause] = &[$($constant),+];
        $(const $constant: $crate::Clause = $crate::Clause::new($name, $promise);)+
    };
}
pub(crate) use clauses;

/// More lines of one message say no more.
const MOST_LINES: usize = 15;
/// More characters of one message say no more.
const MOST_CHARS: usize = 600;

impl Clause {
    pub(crate) const fn new(name: &'static str, promise: &'static str) -> Self {
        Self { name, promise }
    }

    /// Fails unless the two are equal. For values that are short and hold no payload.
    #[track_caller]
    pub(crate) fn same<T: PartialEq + Debug>(self, what: impl Display, came: &T, expected: &T) {
        if came != expected {
            self.broken(format_args!("{what}: expected {expected:?}, and got {came:?}"));
        }
    }

    /// Fails unless the two lists are equal. The message has ids and the fields that differ.
    #[track_caller]
    pub(crate) fn same_all<T: Shown>(self, what: impl Display, came: &[T], expected: &[T]) {
        if let Some(difference) = difference(came, expected) {
            self.broken(format_args!("{what}: {difference}"));
        }
    }

    /// Fails unless both are there and equal, or both are absent.
    #[track_caller]
    pub(crate) fn same_one<T: Shown>(
        self,
        what: impl Display,
        came: Option<&T>,
        expected: Option<&T>,
    ) {
        let as_list = |one: Option<&T>| one.cloned().into_iter().collect::<Vec<_>>();
        self.same_all(what, &as_list(came), &as_list(expected));
    }

    /// Returns what the call returned. Fails if that is an error.
    #[track_caller]
    pub(crate) fn done<T, E: Display>(self, call: impl Display, result: Result<T, E>) -> T {
        match result {
            Ok(returned) => returned,
            Err(error) => self.broken(format_args!("`{call}`: expected success, and got: {error}")),
        }
    }

    /// Fails unless it holds.
    #[track_caller]
    pub(crate) fn holds(self, it: bool, otherwise: impl Display) {
        if !it {
            self.broken(otherwise);
        }
    }

    /// Fails, as an assertion does.
    #[track_caller]
    pub(crate) fn broken(self, what: impl Display) -> ! {
        let Self { name, promise } = self;
        // Ids of the suites have control characters on purpose, which a terminal must not get.
        let shown =
            |c: char| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c };
        let what: String = what.to_string().chars().take(MOST_CHARS).map(shown).collect();
        let what: Vec<_> = what.lines().take(MOST_LINES).collect();
        panic!("[{name}] {}\n  The promise: {promise}.", what.join("\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{notifications, stranger};

    fn said(fails: impl FnOnce() + std::panic::UnwindSafe) -> String {
        let panic = std::panic::catch_unwind(fails).unwrap_err();
        *panic.downcast::<String>().unwrap()
    }

    #[test]
    fn a_failure_is_short_whatever_came() {
        let clause = Clause::new("a name", "something holds");
        let long = "a line\n".repeat(1000);
        let all = notifications(&stranger(), 1000);
        for text in [
            said(|| clause.broken(&long)),
            said(|| clause.same("a text", &long.as_str(), &"")),
            said(|| clause.same_all("a thousand", &all[1..], &all)),
            said(|| clause.done("call", Err(&long))),
        ] {
            assert!(text.starts_with("[a name] "), "{text}");
            assert!(text.ends_with("The promise: something holds."), "{text}");
            assert!(text.lines().count() <= 20 && text.len() < 1500, "{text}");
        }
    }

    #[test]
    fn a_failure_names_ids_and_fields_but_no_payload() {
        let clause = Clause::new("a name", "something holds");
        let [one, two] = crate::sample::full_and_bare(&stranger());
        let changed = doorstep_domain::Notification { ttl: None, ..one.clone() };
        let lost = said(|| clause.same_one("it", Some(&changed), Some(&one)));
        assert!(lost.contains(&one.id.to_string()) && lost.contains("`ttl`"), "{lost}");
        let other = doorstep_domain::Notification { payload: two.payload.clone(), ..one.clone() };
        let cut = said(|| clause.same_one("it", Some(&other), Some(&one)));
        assert!(cut.contains("`payload`") && !cut.contains("xxx"), "{cut}");
        let none = said(|| clause.same_all("all", &[], &[one, two]));
        assert!(none.contains("and got none") && !none.contains("xxx"), "{none}");
    }
}
