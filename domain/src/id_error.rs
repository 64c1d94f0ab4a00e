/// The text is not an id, which is a UUID in one of its usual spellings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is a UUID, such as 01a21e7b-0000-7000-8000-000000000000")]
pub struct IdError;
