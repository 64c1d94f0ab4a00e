//! `doorstep config --schema`: a JSON Schema of the file, made from the list of settings. It describes the form of each
//! value; what settings must be together is left to `doorstep config --check`.

use serde_json::{Value, json};

use super::listing::in_json;
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
    in_json(toml)
}

fn of(shape: Shape) -> Value {
    match shape {
        Shape::Text => json!({"type": "string"}),
        Shape::Pattern(pattern) => json!({"type": "string", "pattern": pattern}),
        Shape::Whole(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
        Shape::Numbers(numbers) => json!({"enum": numbers}),
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

#[cfg(test)]
mod tests {
    use super::super::layers::SettingKey;
    use super::super::tests::load;
    use super::*;

    /// Whether this part of a schema allows the type of a value. Patterns and ranges are not looked at.
    fn allows(part: &Value, value: &Value) -> bool {
        if let Some(any) = part["anyOf"].as_array() {
            return any.iter().any(|part| allows(part, value));
        }
        if let Some(words) = part["enum"].as_array() {
            return words.contains(value);
        }
        match part["type"].as_str() {
            Some("string") => value.is_string(),
            Some("integer") => value.is_i64(),
            Some("boolean") => value.is_boolean(),
            Some("array") => value.is_array(),
            _ => false,
        }
    }

    #[test]
    fn a_file_may_have_the_types_that_the_schema_allows_and_no_others() {
        let schema = schema();
        let mut checked = 0;
        for line in known() {
            let mut part = &schema;
            for segment in &line.key.0 {
                let known = &part["properties"][segment];
                part = if known.is_null() { &part["additionalProperties"] } else { known };
            }
            let text = line.value.trim_matches('"');
            let (quoted, list) = (format!("\"{text}\""), format!("[\"{text}\"]"));
            for value in [quoted.as_str(), text, "7", "true", "1.5", list.as_str()] {
                // Text that is not TOML without its quotes is in the list too.
                let Some(value_in_json) = in_json(value) else { continue };
                let (name, table) = line.key.0.split_last().unwrap();
                let table = SettingKey(table.to_vec()).to_string();
                let table = if table.is_empty() { table } else { format!("[{table}]\n") };
                let file = format!("{table}{name} = {value}\n");
                let refused = load(&file, &[], &[])
                    .is_err_and(|why| why.contains(&format!("{} = ", line.key)));
                assert_eq!(allows(part, &value_in_json), !refused, "{file}{part}");
                checked += 1;
            }
        }
        assert!(checked > 300, "{checked}");
    }
}
