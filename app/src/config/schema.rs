//! `doorstep config --schema`: a JSON Schema of the file, made from the list of settings. It describes the form of each
//! value; what settings must be together is left to `doorstep config --check`.

use serde_json::{Value, json};

use super::settings::{SECTIONS, Section, key_of, known};
use super::value::Shape;

/// The schema.
pub(crate) fn schema() -> Value {
    let known = known();
    let mut root = table("The configuration of Doorstep.");
    root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    for section in SECTIONS {
        let mut there = &mut root;
        for segment in section.table.split('.').filter(|segment| !segment.is_empty()) {
            there = if is_chosen(segment) {
                // A name that the file chooses.
                if there["additionalProperties"] == json!(false) {
                    there["additionalProperties"] = table("");
                }
                &mut there["additionalProperties"]
            } else {
                let inside = &mut there["properties"][segment];
                if inside.is_null() {
                    *inside = table("");
                }
                inside
            };
        }
        there["description"] = json!(section.about);
        for (name, meaning) in section.settings {
            let key = key_of(section, name);
            let Some(line) = known.iter().find(|line| line.key == key) else { continue };
            let mut setting = of(line.shape);
            setting["description"] = json!(format!("{meaning} Expected: {}.", line.expected));
            if let Some(default) = default(section, &line.value) {
                setting["default"] = default;
            }
            if is_chosen(name) {
                there["additionalProperties"] = setting;
            } else {
                there["properties"][name] = setting;
            }
        }
    }
    root
}

fn table(about: &str) -> Value {
    json!({"type": "object", "description": about, "properties": {}, "additionalProperties": false})
}

fn is_chosen(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase())
}

/// The default, as the file has it. Named tables have none of their own.
fn default(section: &Section, toml: &str) -> Option<Value> {
    if section.is_named() {
        return None;
    }
    let line: toml::Table = format!("value = {toml}").parse().ok()?;
    serde_json::to_value(line.get("value")?).ok()
}

fn of(shape: Shape) -> Value {
    match shape {
        Shape::Text => json!({"type": "string"}),
        Shape::Pattern(pattern) => json!({"type": "string", "pattern": pattern}),
        Shape::Whole(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
        Shape::Truth => json!({"type": "boolean"}),
        Shape::List => {
            json!({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})
        }
        Shape::Words(words) => {
            let mut values: Vec<Value> = words.iter().map(|word| json!(word)).collect();
            values
                .extend(words.iter().filter_map(|word| word.parse::<bool>().ok()).map(Value::Bool));
            json!({"enum": values})
        }
    }
}
