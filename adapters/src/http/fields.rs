use std::fmt::Display;
use std::str::FromStr;

use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde_json::{Map, Value};

use super::{FieldError, Problem, json_bytes};

/// The fields of a JSON body, read one by one, so that an error names every bad field.
///
/// ```
/// # use doorstep_adapters::http::{Fields, Problem};
/// struct Order { symbol: String }
///
/// fn order(body: Fields) -> Result<Order, Problem> {
///     body.read(|fields| Order { symbol: fields.text("symbol") })
/// }
/// ```
#[derive(Debug)]
pub struct Fields {
    left: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Fields {
    /// How many faults a response names.
    const MAX_ERRORS: usize = 20;

    /// Reads the fields with `read`. Fields that `read` did not ask for are faults, and so are missing ones. If
    /// there is any fault, the result of `read` is dropped, so `read` may continue with placeholder values.
    pub fn read<T>(mut self, read: impl FnOnce(&mut Self) -> T) -> Result<T, Problem> {
        let value = read(&mut self);
        for name in std::mem::take(&mut self.left).keys() {
            self.fault(name, "unknown field");
        }
        if self.errors.is_empty() {
            return Ok(value);
        }
        self.errors.truncate(Self::MAX_ERRORS);
        Err(Problem::fields(self.errors))
    }

    /// The string of this name; an empty one if it is missing or not a string.
    pub fn text(&mut self, name: &str) -> String {
        let detail = if self.left.contains_key(name) { "must be a string" } else { "missing" };
        self.optional_text(name).unwrap_or_else(|| {
            self.fault_once(name, detail.to_owned());
            String::new()
        })
    }

    /// The string of this name; `None` if it is missing or `null`.
    pub fn optional_text(&mut self, name: &str) -> Option<String> {
        match self.left.remove(name)? {
            Value::String(text) => Some(text),
            Value::Null => None,
            _ => {
                self.fault(name, "must be a string");
                None
            }
        }
    }

    /// Parses a body.
    fn parse(body: &[u8]) -> Result<Self, Problem> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(left)) => Ok(Self { left, errors: Vec::new() }),
            Ok(_) => Err(Problem::fields(vec![FieldError {
                place: "body",
                field: String::new(),
                detail: "must be a JSON object".into(),
            }])),
            Err(error) => {
                let detail = format!("the body is not JSON: {error}");
                Err(Problem::new(StatusCode::BAD_REQUEST, detail))
            }
        }
    }

    /// The value of this name, of any type.
    #[cfg(feature = "publish")]
    pub(crate) fn optional_value(&mut self, name: &str) -> Option<Value> {
        self.left.remove(name)
    }

    /// The string of this name, parsed; `None` and a fault if it is missing or invalid.
    pub fn parsed<T: FromStr<Err: Display>>(&mut self, name: &str) -> Option<T> {
        let text = self.text(name);
        self.understood(name, &text)
    }

    /// The same as [`parsed`](Self::parsed) for a field that may be missing or `null`.
    pub fn optional_parsed<T: FromStr<Err: Display>>(&mut self, name: &str) -> Option<T> {
        let text = self.optional_text(name)?;
        self.understood(name, &text)
    }

    /// The value of the word that this field contains; `None` and a fault if it is missing or another word.
    pub fn word<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(name);
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let all: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            self.fault_once(name, format!("must be {}", all.join(" or ")));
        }
        found
    }

    fn understood<T: FromStr<Err: Display>>(&mut self, name: &str, text: &str) -> Option<T> {
        match text.parse() {
            Ok(value) => Some(value),
            Err(why) => {
                self.fault_once(name, why.to_string());
                None
            }
        }
    }

    /// Names a field as being at fault, unless it has a fault already.
    fn fault_once(&mut self, name: &str, detail: String) {
        if self.errors.iter().all(|error| error.field != name) {
            self.fault(name, detail);
        }
    }

    /// Names a field as being at fault.
    pub fn fault(&mut self, name: &str, detail: impl Into<String>) {
        // A client may send a name of any length; the response need not repeat all of it.
        let field = name.chars().take(64).collect();
        self.errors.push(FieldError { place: "body", field, detail: detail.into() });
    }
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        Self::parse(&json_bytes(request, state).await?)
    }
}
