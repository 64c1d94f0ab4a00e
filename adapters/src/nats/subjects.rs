use doorstep_domain::{LogKey, NotificationId};
use uuid::Uuid;

/// The names of a log's stream and of its subjects.
#[derive(Debug, Clone)]
pub(super) struct Subjects {
    pub(super) stream: String,
    prefix: String,
}

impl Subjects {
    pub(super) fn new(name: &str) -> Self {
        Self { stream: format!("DOORSTEP_{name}"), prefix: format!("doorstep.{name}.") }
    }

    /// All subjects of the stream.
    pub(super) fn all(&self) -> String {
        format!("{}>", self.prefix)
    }

    /// The subjects of entries.
    pub(super) fn entries(&self) -> String {
        format!("{}*.*", self.prefix)
    }

    /// The subject of the mark by which a stream is known. It is not an entry.
    pub(super) fn mark(&self) -> String {
        format!("{}mark", self.prefix)
    }

    /// The subject of a key.
    pub(super) fn of(&self, key: LogKey) -> String {
        match key {
            LogKey::Notification(id) => format!("{}n.{id}", self.prefix),
            LogKey::Passing(id) => format!("{}p.{id}", self.prefix),
        }
    }

    /// The key of a subject; `None` if we would not write it like that.
    pub(super) fn key(&self, subject: &str) -> Option<LogKey> {
        let (kind, id) = subject.strip_prefix(&self.prefix)?.split_once('.')?;
        let id = Uuid::try_parse(id).ok()?;
        let key = match kind {
            "n" => LogKey::Notification(NotificationId::new(id)),
            "p" => LogKey::Passing(id),
            _ => return None,
        };
        (self.of(key) == subject).then_some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_from_its_subject_and_from_no_other() {
        let subjects = Subjects::new("here");
        let id = Uuid::now_v7();
        for key in [LogKey::Notification(NotificationId::new(id)), LogKey::Passing(id)] {
            assert_eq!(subjects.key(&subjects.of(key)), Some(key));
        }
        let (upper, simple) = (id.to_string().to_uppercase(), id.simple());
        for bad in [
            String::new(),
            subjects.mark(),
            format!("doorstep.here.n.{upper}"),
            format!("doorstep.here.n.{simple}"),
            format!("doorstep.here.x.{id}"),
            format!("doorstep.there.n.{id}"),
            format!("doorstep.here.n.{id}.more"),
        ] {
            assert_eq!(subjects.key(&bad), None, "{bad}");
        }
    }
}
