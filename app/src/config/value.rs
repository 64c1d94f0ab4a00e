//! How a value is read from text and written as text. The file's `ttl = "5s"`, the variable `DOORSTEP_DELIVERY__TTL=5s`
//! and a flag are read by the same code, so they are refused with the same words.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::time::Duration;

use bytesize::ByteSize;
use doorstep_domain::{Money, Ttl};

use super::layers::SettingText;

/// The type of a setting.
pub(crate) trait SettingValue: Sized {
    /// What is allowed, as the end of the sentence "expected ...".
    const EXPECTED: &'static str;

    /// What a schema says about it.
    const SHAPE: Shape = Shape::Text;

    /// Whether TOML has it without quotes: a number or a truth value.
    const BARE: bool = false;

    /// Reads a value. `None` if it is not allowed.
    fn from_text(text: &str) -> Option<Self>;

    /// Writes a value so that it can be read again. A secret is written as stars.
    fn to_text(&self) -> String;
}

/// The values of a type, as far as a schema can describe them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Any text.
    Text,
    /// Text that matches this regular expression.
    Pattern(&'static str),
    /// One of these words.
    Words(&'static [&'static str]),
    /// A whole number in this range.
    Whole(u64, u64),
    /// One of these numbers.
    Numbers(&'static [u64]),
    /// A truth value.
    Truth,
    /// An array of texts, or one text with commas, which means the same.
    List,
}

impl Shape {
    /// Whether a value of this type may be given. The environment and flags have text only; in the file, the type must
    /// be the one that the schema says.
    pub(super) fn takes(self, text: &SettingText) -> bool {
        match (self, text) {
            (_, SettingText::Plain(_))
            | (
                Self::Text | Self::Pattern(_) | Self::Words(_) | Self::List,
                SettingText::Quoted(_),
            )
            | (Self::Whole(..) | Self::Numbers(_), SettingText::Number(_))
            | (Self::Truth, SettingText::Truth(_))
            | (Self::List, SettingText::List(_)) => true,
            (Self::Words(words), SettingText::Truth(truth)) => words.contains(&truth.as_str()),
            _ => false,
        }
    }
}

/// A duration as `humantime` reads it.
const DURATION: Shape = Shape::Pattern("^\\s*([0-9]+\\s*[A-Za-zµ]+\\s*)+$");

/// A setting that is one word of a list, as in `policy = "deferred"`.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $expected:literal, { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $crate::config::value::SettingValue for $name {
            const EXPECTED: &'static str = $expected;
            const SHAPE: $crate::config::value::Shape = $crate::config::value::Shape::Words(&[$($word),+]);

            fn from_text(text: &str) -> Option<Self> {
                match text {
                    $($word => Some(Self::$variant),)+
                    _ => None,
                }
            }

            fn to_text(&self) -> String {
                match self {
                    $(Self::$variant => $word,)+
                }
                .to_owned()
            }
        }
    };
}
pub(crate) use words;

/// A duration above zero, for intervals and timeouts that would not work with zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl Span {
    /// The longest: ten years. A longer one is a typing error.
    const MAX: Duration = Duration::from_hours(10 * 365 * 24);

    pub(crate) const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }
}

impl SettingValue for Span {
    const EXPECTED: &'static str = "a duration above zero, like \"500ms\", \"10s\" or \"2h\"";
    const SHAPE: Shape = DURATION;

    fn from_text(text: &str) -> Option<Self> {
        let duration = humantime::parse_duration(text).ok()?;
        (duration >= Duration::from_millis(1) && duration <= Self::MAX).then_some(Self(duration))
    }

    fn to_text(&self) -> String {
        humantime::format_duration(self.0).to_string()
    }
}

/// Optional text; empty if it is not given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct OptionalText(pub(crate) String);

impl OptionalText {
    /// Returns the text, if it is given.
    pub(crate) fn text(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.0.clone())
    }
}

impl SettingValue for OptionalText {
    const EXPECTED: &'static str = "text";

    fn from_text(text: &str) -> Option<Self> {
        Some(Self(text.to_owned()))
    }

    fn to_text(&self) -> String {
        self.0.clone()
    }
}

/// Optional text that is never printed. The part that uses it judges its form, so that no message repeats it.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct SecretText(pub(crate) String);

impl SettingValue for SecretText {
    const EXPECTED: &'static str = "text";

    fn from_text(text: &str) -> Option<Self> {
        Some(Self(text.to_owned()))
    }

    fn to_text(&self) -> String {
        if self.0.is_empty() { String::new() } else { "***".to_owned() }
    }
}

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_text())
    }
}

impl SettingValue for bool {
    const EXPECTED: &'static str = "true or false";
    const SHAPE: Shape = Shape::Truth;
    const BARE: bool = true;

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn to_text(&self) -> String {
        self.to_string()
    }
}

impl SettingValue for Ttl {
    const EXPECTED: &'static str =
        "a duration up to 24 hours, like \"60s\" or \"500ms\" (\"0s\": now or never)";
    const SHAPE: Shape = Shape::Pattern("^\\s*(0|([0-9]+\\s*[A-Za-zµ]+\\s*)+)$");

    fn from_text(text: &str) -> Option<Self> {
        let duration = humantime::parse_duration(text).ok()?;
        // A value between zero and a millisecond would become zero, which means now or never.
        let lost = !duration.is_zero() && duration < Duration::from_millis(1);
        if lost { None } else { Self::new(duration) }
    }

    fn to_text(&self) -> String {
        humantime::format_duration(self.as_duration()).to_string()
    }
}

/// The largest whole number of TOML.
const MOST_IN_TOML: u64 = i64::MAX.unsigned_abs();
const MOST_IN_32_BITS: u64 = 0xffff_ffff;

/// Whole numbers of different sizes.
macro_rules! whole_numbers {
    ($($number:ty: $least:literal..=$most:expr, $expected:literal,)+) => {$(
        impl SettingValue for $number {
            const EXPECTED: &'static str = $expected;
            const SHAPE: Shape = Shape::Whole($least, $most);
            const BARE: bool = true;

            fn from_text(text: &str) -> Option<Self> {
                text.parse().ok()
            }

            fn to_text(&self) -> String {
                self.to_string()
            }
        }
    )+};
}

whole_numbers! {
    u32: 0..=MOST_IN_32_BITS, "a whole number from 0",
    u64: 0..=MOST_IN_TOML, "a whole number from 0",
    NonZeroU32: 1..=MOST_IN_32_BITS, "a whole number from 1",
    NonZeroU64: 1..=MOST_IN_TOML, "a whole number from 1",
    NonZeroUsize: 1..=MOST_IN_TOML, "a whole number from 1",
}

impl SettingValue for ByteSize {
    const EXPECTED: &'static str = "a size of at least one byte, like \"512MiB\"";
    const SHAPE: Shape = Shape::Pattern("^[0-9]+(\\.[0-9]+)?\\s*[A-Za-z]*$");

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok().filter(|size| *size >= Self::b(1))
    }

    fn to_text(&self) -> String {
        // In the largest unit that needs no rounding.
        for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
            if self.as_u64().is_multiple_of(unit) {
                return format!("{}{name}", self.as_u64() / unit);
            }
        }
        format!("{}B", self.as_u64())
    }
}

impl SettingValue for Money {
    const EXPECTED: &'static str = "an amount of at least 0.00 in quotes, like \"1000.00\"";
    const SHAPE: Shape = Shape::Pattern("^[0-9]+(\\.[0-9]+)?$");

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok().filter(|amount: &Self| !amount.is_negative())
    }

    fn to_text(&self) -> String {
        self.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        assert_eq!(Span::from_text("500ms"), Some(Span(Duration::from_millis(500))));
        assert_eq!(Span::from_text(&Span::from_secs(90).to_text()), Some(Span::from_secs(90)));
        assert_eq!(Ttl::from_text("0s"), Some(Ttl::ZERO));
        assert_eq!(Ttl::from_text(&Ttl::MAX.to_text()), Some(Ttl::MAX));
        assert_eq!(ByteSize::mib(512).to_text(), "512MiB");
        for size in ["1B", "3KiB", "512MiB", "5GB"] {
            let read = ByteSize::from_text(size).unwrap();
            assert_eq!(ByteSize::from_text(&read.to_text()), Some(read), "{size}");
        }
    }

    #[test]
    fn what_is_not_allowed_is_not_read() {
        for text in ["", "60", "0s", "-1s", "soon", "11years", "100us"] {
            assert_eq!(Span::from_text(text), None, "{text:?}");
        }
        for text in ["", "60", "25h", "100us"] {
            assert_eq!(Ttl::from_text(text), None, "{text:?}");
        }
        for text in ["0", "-1", "1.5", "many"] {
            assert_eq!(NonZeroUsize::from_text(text), None, "{text:?}");
        }
        assert_eq!(ByteSize::from_text("0B"), None);
        assert_eq!(Money::from_text("-1.00"), None);
        assert_eq!(Money::from_text("0.00"), Some(Money::ZERO));
    }
}
