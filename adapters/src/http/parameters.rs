use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use axum::extract::{FromRequestParts, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use uuid::Uuid;

use super::{FieldError, Problem};

/// The query parameters of a request, read one by one like the [`Fields`](super::Fields) of a body.
#[derive(Debug)]
pub struct Parameters {
    left: BTreeMap<String, String>,
    errors: Vec<FieldError>,
}

impl Parameters {
    /// How many faults a response names.
    const MAX_ERRORS: usize = 20;

    /// Reads the parameters with `read`. Unknown parameters are faults.
    pub fn read<T>(mut self, read: impl FnOnce(&mut Self) -> T) -> Result<T, Problem> {
        let value = read(&mut self);
        for name in std::mem::take(&mut self.left).keys() {
            self.fault(name, "unknown parameter");
        }
        if self.errors.is_empty() {
            return Ok(value);
        }
        self.errors.truncate(Self::MAX_ERRORS);
        Err(Problem::fields(self.errors))
    }

    /// The integer of this name, or `default` if it is missing.
    pub fn number(&mut self, name: &str, range: RangeInclusive<usize>, default: usize) -> usize {
        let Some(text) = self.left.remove(name) else { return default };
        // `parse` would accept a leading plus, which in a query is a space anyway.
        let number = if text.starts_with('+') { None } else { text.parse().ok() };
        match number {
            Some(number) if range.contains(&number) => number,
            _ => {
                let (least, most) = range.into_inner();
                self.fault(name, format!("must be a whole number from {least} to {most}"));
                default
            }
        }
    }

    /// The id of this name, if it is present.
    pub fn id(&mut self, name: &str) -> Option<Uuid> {
        let parsed = Uuid::try_parse(&self.left.remove(name)?);
        if parsed.is_err() {
            self.fault(name, "must be an id: a UUID");
        }
        parsed.ok()
    }

    /// The value of the word that this parameter contains, if it is present.
    pub fn word<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.left.remove(name)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let all: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            self.fault(name, format!("must be {}", all.join(" or ")));
        }
        found
    }

    /// What this parameter is parsed to, if it is present.
    pub fn parsed<T>(&mut self, name: &str) -> Option<T>
    where
        T: FromStr<Err: Display>,
    {
        let text = self.left.remove(name)?;
        text.parse().map_err(|error: T::Err| self.fault(name, error.to_string())).ok()
    }

    /// Whether this parameter is present.
    pub fn has(&self, name: &str) -> bool {
        self.left.contains_key(name)
    }

    /// Names a parameter as being at fault.
    pub fn fault(&mut self, name: &str, detail: impl Into<String>) {
        let field = name.chars().take(64).collect();
        self.errors.push(FieldError { place: "query", field, detail: detail.into() });
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let pairs = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Ok(Query(pairs)) = pairs else {
            let detail = "the query string is malformed";
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        };
        let mut parameters = Self { left: BTreeMap::new(), errors: Vec::new() };
        for (name, value) in pairs {
            if parameters.left.contains_key(&name) {
                parameters.fault(&name, "given more than once");
            }
            parameters.left.insert(name, value);
        }
        Ok(parameters)
    }
}
