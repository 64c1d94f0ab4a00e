//! Reads what a publisher sends. Each notification is judged on its own: an invalid one is reported in its place
//! and does not hold up the others.

use std::fmt;

use doorstep_application::publishing::{Draft, DraftBounds};
use doorstep_domain::{NotificationId, SentBy, Ttl};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::MAX_BATCH;
use crate::http::FieldError;

/// A body: one notification or several, not parsed any further.
pub(super) enum Body<'a> {
    One(&'a RawValue),
    Many(Vec<&'a RawValue>),
    /// More than [`MAX_BATCH`].
    TooMany,
}

impl<'a> Body<'a> {
    pub(super) fn read(text: &'a [u8]) -> Result<Self, serde_json::Error> {
        let begins = text.iter().find(|byte| !byte.is_ascii_whitespace());
        if begins != Some(&b'[') {
            return serde_json::from_slice(text).map(Self::One);
        }
        let mut over = false;
        let mut reader = serde_json::Deserializer::from_slice(text);
        let items = reader.deserialize_seq(Items { over: &mut over });
        // What follows one too many is not read: it may be millions.
        if over {
            return Ok(Self::TooMany);
        }
        let items = items?;
        reader.end()?;
        Ok(Self::Many(items))
    }
}

/// Reads an array until its end, or until it has more than [`MAX_BATCH`] elements.
struct Items<'over> {
    over: &'over mut bool,
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            if items.len() == MAX_BATCH {
                *self.over = true;
                break;
            }
            items.push(item);
        }
        Ok(items)
    }
}

/// A draft, or all its faults and, if it is readable, its id.
pub(super) fn draft(
    item: &RawValue,
    bounds: DraftBounds,
) -> Result<Draft, (Option<NotificationId>, Vec<FieldError>)> {
    let Ok(members) = serde_json::from_str::<Members<'_>>(item.get()) else {
        return Err((None, vec![fault("", "must be a JSON object")]));
    };
    let mut reader = DraftReader { members, faults: Vec::new() };
    let id = reader.optional("id", 6, |text| text.parse().map_err(|_| "must be a UUID".to_owned()));
    let user_id = reader.required("user_id", 0, DraftBounds::text);
    let kind = reader.required("kind", 1, DraftBounds::text);
    let topic = reader.optional("topic", 3, DraftBounds::text);
    let policy = reader.optional("policy", 5, |word| bounds.policy(word));
    let ttl = reader.ttl(bounds);
    let payload = if let Some(raw) = reader.members.values[2] {
        DraftBounds::payload(raw.get())
            .map_err(|detail| reader.faults.push(fault("payload", detail)))
            .ok()
    } else {
        reader.faults.push(fault("payload", "missing"));
        None
    };
    let mut faults = reader.faults;
    faults.extend(reader.members.faults);
    match (user_id, kind, payload) {
        (Some(user_id), Some(kind), Some(payload)) if faults.is_empty() => {
            // The sender and the trace come from the request's headers.
            let (trace, sent_by) = (None, SentBy::Program);
            Ok(Draft { user_id, kind, payload, topic, ttl, policy, id, trace, sent_by })
        }
        _ => {
            faults.truncate(MAX_FAULTS);
            Err((id, faults))
        }
    }
}

/// The most faults of one draft that are reported.
const MAX_FAULTS: usize = 20;

fn fault(field: &str, detail: impl Into<String>) -> FieldError {
    FieldError { place: "body", field: field.to_owned(), detail: detail.into() }
}

const NAMES: [&str; 7] = ["user_id", "kind", "payload", "topic", "ttl", "policy", "id"];

/// The members of a draft by their index in [`NAMES`], not parsed.
struct Members<'a> {
    values: [Option<&'a RawValue>; NAMES.len()],
    faults: Vec<FieldError>,
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Members { values: [None; NAMES.len()], faults: Vec::new() };
                while let Some(name) = map.next_key::<Name>()? {
                    let value = map.next_value::<&RawValue>()?;
                    let fault = match name {
                        Name::Known(place) if members.values[place].is_none() => {
                            members.values[place] = Some(value);
                            continue;
                        }
                        Name::Known(place) => fault(NAMES[place], "given more than once"),
                        Name::Unknown(name) => fault(&name, "unknown field"),
                    };
                    if members.faults.len() < MAX_FAULTS {
                        members.faults.push(fault);
                    }
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

enum Name {
    Known(usize),
    Unknown(String),
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Word;
        impl Visitor<'_> for Word {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_str<E>(self, name: &str) -> Result<Name, E> {
                Ok(match NAMES.iter().position(|known| *known == name) {
                    Some(place) => Name::Known(place),
                    // A name may have any length; the response need not repeat all of it.
                    None => Name::Unknown(name.chars().take(64).collect()),
                })
            }
        }
        deserializer.deserialize_str(Word)
    }
}

struct DraftReader<'a> {
    members: Members<'a>,
    faults: Vec<FieldError>,
}

impl DraftReader<'_> {
    fn required<T>(
        &mut self,
        name: &str,
        place: usize,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        if self.members.values[place].is_none() {
            self.faults.push(fault(name, "missing"));
        }
        self.text(name, place, parse)
    }

    /// Reads a member that may be missing; `null` counts as missing.
    fn optional<T>(
        &mut self,
        name: &str,
        place: usize,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        if self.members.values[place].is_some_and(|raw| raw.get() == "null") {
            return None;
        }
        self.text(name, place, parse)
    }

    fn text<T>(
        &mut self,
        name: &str,
        place: usize,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let raw = self.members.values[place]?;
        let parsed = serde_json::from_str::<String>(raw.get())
            .map_err(|_| "must be a string".to_owned())
            .and_then(|text| parse(&text));
        parsed.map_err(|detail| self.faults.push(fault(name, detail))).ok()
    }

    fn ttl(&mut self, bounds: DraftBounds) -> Option<Ttl> {
        let raw = self.members.values[4].filter(|raw| raw.get() != "null")?;
        let ttl = bounds.ttl(serde_json::from_str(raw.get()).ok());
        ttl.map_err(|detail| self.faults.push(fault("ttl", detail))).ok()
    }
}
