//! Escaping for text that PostgreSQL does not accept.
//!
//! A user id may be any string, even one with a NUL, which PostgreSQL's `TEXT` cannot hold. It is stored as `\0`,
//! and a backslash as `\\`, so that different strings stay different; all other text is stored as it is.

/// Escapes text for the database.
pub(super) fn kept(text: &str) -> String {
    if text.contains(['\0', '\\']) {
        text.replace('\\', r"\\").replace('\0', r"\0")
    } else {
        text.to_owned()
    }
}

/// Undoes [`kept`].
pub(super) fn unkept(kept: String) -> String {
    if !kept.contains('\\') {
        return kept;
    }
    let mut text = String::with_capacity(kept.len());
    let mut letters = kept.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => text.push(if letters.next() == Some('0') { '\0' } else { '\\' }),
            letter => text.push(letter),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_restored_and_different_texts_stay_different() {
        let texts = ["", "customer/42", "zoë", "a\0b", r"a\0b", r"a\\0b", r"\", "\0\0", r"\\"];
        let kept: Vec<_> = texts.iter().map(|text| kept(text)).collect();
        for (text, kept) in texts.iter().zip(&kept) {
            assert!(!kept.contains('\0'));
            assert_eq!(&unkept(kept.clone()), text);
        }
        assert_eq!(kept.iter().collect::<std::collections::HashSet<_>>().len(), texts.len());
    }
}
