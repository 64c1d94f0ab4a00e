//! `[stories]`: how much is remembered of what happened to notifications.

use std::num::NonZeroUsize;

use bytesize::ByteSize;
use doorstep_application::stories::StoryLimits;

use super::reader::SettingReader;

/// What is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoriesConfig {
    enabled: bool,
    /// The most steps.
    max_steps: NonZeroUsize,
    /// The most bytes that they take.
    max_bytes: ByteSize,
}

impl StoriesConfig {
    pub(super) fn read(reader: &mut SettingReader) -> Self {
        let StoryLimits { max_steps, max_bytes } = StoryLimits::default();
        let max_steps = NonZeroUsize::new(max_steps).unwrap_or(NonZeroUsize::MIN);
        let max_bytes = ByteSize(u64::try_from(max_bytes).unwrap_or(u64::MAX));
        Self {
            enabled: reader.read(&["stories", "enabled"], true),
            max_steps: reader.read(&["stories", "max_steps"], max_steps),
            max_bytes: reader.read(&["stories", "max_bytes"], max_bytes),
        }
    }

    /// How much is remembered; `None` if nothing is.
    pub(crate) fn limits(&self) -> Option<StoryLimits> {
        let max_bytes = usize::try_from(self.max_bytes.as_u64()).unwrap_or(usize::MAX);
        self.enabled.then_some(StoryLimits { max_steps: self.max_steps.get(), max_bytes })
    }
}
