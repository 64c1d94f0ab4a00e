use doorstep_domain::Timestamp;

/// When a certificate begins and ends to be valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) begins: Timestamp,
    pub(super) ends: Timestamp,
}

/// Tags of DER (X.690 section 8).
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The optional version, which is the first field of a certificate.
const VERSION: u8 = 0xa0;

impl Validity {
    /// Reads it from a certificate in DER (RFC 5280 section 4.1); `None` if it is not there. Nothing rests on it but
    /// warnings and a metric, so this is no reason to parse the whole certificate.
    pub(super) fn of(certificate: &[u8]) -> Option<Self> {
        let (certificate, _) = Element::read(certificate)?;
        let (signed, _) = Element::read(certificate.content)?;
        let (first, after_first) = Element::read(signed.content)?;
        let mut rest = if first.tag == VERSION { after_first } else { signed.content };
        // The serial number, the algorithm of the signature, the issuer.
        for _ in 0..3 {
            (_, rest) = Element::read(rest)?;
        }
        let (validity, _) = Element::read(rest)?;
        let (begins, rest) = Element::read(validity.content)?;
        let (ends, _) = Element::read(rest)?;
        Some(Self { begins: begins.time()?, ends: ends.time()? })
    }
}

/// One element of DER.
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
}

impl<'a> Element<'a> {
    /// Reads the first element; returns what follows it too.
    fn read(der: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&tag, rest) = der.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = if first < 0x80 {
            (usize::from(first), rest)
        } else {
            // The number of bytes of the length. Four are enough for every certificate.
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            if bytes.len() > 4 {
                return None;
            }
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        };
        let (content, rest) = rest.split_at_checked(length)?;
        Some((Self { tag, content }, rest))
    }

    /// `YYMMDDHHMMSSZ` for years up to 2049, else `YYYYMMDDHHMMSSZ` (RFC 5280 section 4.1.2.5).
    fn time(&self) -> Option<Timestamp> {
        let digits = self.content.strip_suffix(b"Z")?;
        let number = |digits: &[u8]| {
            let text = std::str::from_utf8(digits).ok()?;
            text.bytes().all(|digit| digit.is_ascii_digit()).then(|| text.parse::<i16>().ok())?
        };
        let (year, rest) = match (self.tag, digits.len()) {
            (UTC_TIME, 12) => {
                let (year, rest) = digits.split_at_checked(2)?;
                let year = number(year)?;
                (if year < 50 { 2000 + year } else { 1900 + year }, rest)
            }
            (GENERALIZED_TIME, 14) => {
                let (year, rest) = digits.split_at_checked(4)?;
                (number(year)?, rest)
            }
            _ => return None,
        };
        let mut parts = rest.chunks(2).map(|part| i8::try_from(number(part)?).ok());
        let mut part = || parts.next().flatten();
        let (month, day) = (part()?, part()?);
        let date = jiff::civil::Date::new(year, month, day).ok()?;
        let time = jiff::civil::Time::new(part()?, part()?, part()?, 0).ok()?;
        // As the distance from the epoch, because "never" is the last second of the year 9999, which is not in the range
        // of points in time.
        let epoch = jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0);
        let seconds = date.to_datetime(time).duration_since(epoch).as_secs();
        Some(Timestamp::from_micros(seconds.checked_mul(1_000_000)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        let length = if length < 0x80 { vec![length] } else { vec![0x81, length] };
        [&[tag][..], &length, content].concat()
    }

    /// As much of a certificate as is read.
    fn certificate(version: &[u8], ends: &[u8]) -> Vec<u8> {
        let begins = element(UTC_TIME, b"500101000000Z");
        let validity = element(0x30, &[&begins, ends].concat());
        let (serial, algorithm) = (element(0x02, &[1]), element(0x30, &[]));
        let issuer = element(0x30, &[0; 150]);
        let signed = element(0x30, &[version, &serial, &algorithm, &issuer, &validity].concat());
        let mut whole = vec![0x30, 0x82, 0, u8::try_from(signed.len()).unwrap()];
        whole.extend(signed);
        whole
    }

    fn seconds(validity: Option<Validity>) -> Option<(i64, i64)> {
        let seconds = |time: Timestamp| time.as_micros() / 1_000_000;
        validity.map(|Validity { begins, ends }| (seconds(begins), seconds(ends)))
    }

    #[test]
    fn both_forms_of_a_time_are_read() {
        let (version, begins) = (element(VERSION, &element(0x02, &[2])), -631_152_000);
        for (ends, expected) in [
            (element(UTC_TIME, b"491231235959Z"), Some(2_524_607_999)),
            (element(GENERALIZED_TIME, b"20500101000000Z"), Some(2_524_608_000)),
            (element(GENERALIZED_TIME, b"99991231235959Z"), Some(253_402_300_799)),
            (element(GENERALIZED_TIME, b"491231235959Z"), None),
            (element(UTC_TIME, b"491331235959Z"), None),
            (element(UTC_TIME, b"49123123595Z"), None),
            (element(UTC_TIME, b"4912312359-9Z"), None),
            (element(UTC_TIME, b"491231235959+"), None),
            (element(0x04, b"491231235959Z"), None),
        ] {
            for version in [&version[..], &[]] {
                let validity = Validity::of(&certificate(version, &ends));
                assert_eq!(seconds(validity), expected.map(|ends| (begins, ends)), "{ends:?}");
            }
        }
    }

    #[test]
    fn what_is_cut_off_is_not_read() {
        let whole = certificate(&[], &element(UTC_TIME, b"491231235959Z"));
        for length in 0..whole.len() {
            assert_eq!(Validity::of(&whole[..length]), None, "{length}");
        }
        assert!(Validity::of(&whole).is_some());
        // Lengths that point beyond the end, or that are longer than any certificate.
        for der in [&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff][..], &[0x30, 0xff, 1], &[0x30, 0x80]] {
            assert_eq!(Validity::of(der), None);
        }
    }
}
