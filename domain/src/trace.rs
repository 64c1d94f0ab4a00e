use std::fmt;
use std::str::FromStr;

/// The trace that a notification belongs to, and the step in it that sent the notification: the `traceparent` of
/// [W3C Trace Context](https://www.w3.org/TR/trace-context/). It is passed on unchanged.
///
/// ```
/// use doorstep_domain::TraceParent;
///
/// let trace: TraceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse()?;
/// assert_eq!(trace.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
/// # Ok::<(), doorstep_domain::TraceParentError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceParent {
    // Bytes and not numbers, which would be aligned and take more room.
    trace: [u8; 16],
    parent: [u8; 8],
    flags: u8,
}

/// The id of a trace, in 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(u128);

/// The text is not a [`TraceParent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a traceparent is VERSION-TRACE-PARENT-FLAGS in lower-case hexadecimal digits")]
pub struct TraceParentError;

/// The length of version 00; a later version may be longer.
const LENGTH: usize = 55;

impl TraceParent {
    /// The id of the trace.
    pub const fn trace_id(self) -> TraceId {
        TraceId(u128::from_be_bytes(self.trace))
    }
}

impl FromStr for TraceParent {
    type Err = TraceParentError;

    /// Reads version 00, and of a later version what it has in common with version 00.
    fn from_str(text: &str) -> Result<Self, TraceParentError> {
        let bytes = text.as_bytes();
        let has_its_length = match bytes.get(..2) {
            Some(b"00") => bytes.len() == LENGTH,
            Some(_) => bytes.len() == LENGTH || bytes.get(LENGTH) == Some(&b'-'),
            None => false,
        };
        let is_parted = [2, 35, 52].iter().all(|&place| bytes.get(place) == Some(&b'-'));
        if !has_its_length || !is_parted {
            return Err(TraceParentError);
        }
        let [version] = hex(&bytes[..2])?;
        let trace = hex(&bytes[3..35])?;
        let parent = hex(&bytes[36..52])?;
        let [flags] = hex(&bytes[53..LENGTH])?;
        if version == 0xFF || trace == [0; 16] || parent == [0; 8] {
            return Err(TraceParentError);
        }
        // It is passed on as version 00, in which only these two flags have a meaning.
        let flags = if version == 0 { flags } else { flags & 0b11 };
        Ok(Self { trace, parent, flags })
    }
}

/// Reads `2 * N` digits.
fn hex<const N: usize>(digits: &[u8]) -> Result<[u8; N], TraceParentError> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(TraceParentError),
    };
    let mut read = [0; N];
    for (byte, pair) in read.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(read)
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parent = u64::from_be_bytes(self.parent);
        write!(f, "00-{}-{parent:016x}-{:02x}", self.trace_id(), self.flags)
    }
}

impl fmt::Debug for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn it_is_read_and_written_unchanged() {
        for text in [GOOD, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"] {
            assert_eq!(text.parse::<TraceParent>().unwrap().to_string(), text);
        }
        let id = GOOD.parse::<TraceParent>().unwrap().trace_id();
        assert_eq!(id.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(size_of::<TraceParent>(), 25);
    }

    #[test]
    fn a_later_version_is_passed_on_as_version_00() {
        let later = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-fd";
        for text in [later.to_owned(), format!("{later}-what-comes")] {
            assert_eq!(text.parse::<TraceParent>().unwrap().to_string(), GOOD);
        }
        assert!(format!("{later}x").parse::<TraceParent>().is_err());
    }

    #[test]
    fn what_the_recommendation_calls_invalid_is_refused() {
        let bad = [
            "",
            "00",
            "nonsense",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
        ];
        for text in bad {
            assert_eq!(text.parse::<TraceParent>(), Err(TraceParentError), "{text:?}");
        }
    }
}
