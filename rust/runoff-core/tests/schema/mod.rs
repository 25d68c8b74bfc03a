//! A protocol message and its JSON Schema: all single changes to the message, and whether the schema allows them.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

/// A message with a single change.
pub struct Changed {
    /// Field names, separated by dots.
    pub place: String,
    pub message: Value,
    pub is_valid: bool,
}

/// Reads a file in the folder `protocol`.
pub fn protocol(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../protocol").join(name);
    serde_json::from_str(&fs::read_to_string(path).expect("a file of the protocol")).expect("JSON")
}

/// Changes `message`, which conforms to the schema in `root`: fields are removed and added; enum values, limits and
/// value types are replaced. Missing fields are first added with their defaults, then changed.
pub fn changes(root: &Value, message: &Value) -> Vec<Changed> {
    let found = walk(root, root, message);
    found.into_iter().map(|(place, message, is_valid)| Changed { place, message, is_valid }).collect()
}

type Found = Vec<(String, Value, bool)>;

fn walk(root: &Value, schema: &Value, value: &Value) -> Found {
    let schema = match schema["$ref"].as_str() {
        Some(place) => root.pointer(&place[1..]).expect("a definition"),
        None => schema,
    };
    let here = |value: Value, is_valid| (String::new(), value, is_valid);
    if let Some(kinds) = schema["discriminator"]["mapping"].as_object() {
        return walk(root, &json!({"$ref": kinds[value["kind"].as_str().expect("a kind")]}), value);
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let (null, choices) = choices.split_last().expect("a choice");
        assert_eq!(*null, json!({"type": "null"}), "a new kind of schema: teach this test");
        let choices = choices.iter().filter(|_| !value.is_null());
        let mut found: Found = choices.flat_map(|choice| walk(root, choice, value)).collect();
        found.retain(|(place, value, _)| !(place.is_empty() && value.is_null()));
        found.push(here(Value::Null, true));
        return found;
    }
    let mut found = vec![here(value.clone(), true), here(Value::Null, false)];
    found.push(here(if schema["type"] == "string" { json!(1) } else { json!("a colour") }, false));
    found.extend(schema["enum"].as_array().into_iter().flatten().map(|word| here(word.clone(), true)));
    if let Some(least) = schema["minimum"].as_i64() {
        found.extend([here(json!(least), true), here(json!(least - 1), false)]);
    }
    match value {
        Value::Object(_) => found.extend(fields(root, schema, value)),
        Value::Array(elements) => found.extend(elements_of(root, schema, elements)),
        _ => {}
    }
    found
}

fn fields(root: &Value, schema: &Value, value: &Value) -> Found {
    let mut found = Found::new();
    let mut change = |name: &str, part: Option<Value>, place: &str, is_valid| {
        let mut changed = value.as_object().expect("an object").clone();
        match part {
            Some(part) => changed.insert(name.to_owned(), part),
            None => changed.remove(name),
        };
        found.push((format!("{name}{place}"), Value::Object(changed), is_valid));
    };
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        for (place, part, is_valid) in walk(root, property, value.get(name).unwrap_or(&property["default"])) {
            change(name, Some(part), &dotted(&place), is_valid);
        }
        let is_required = schema["required"].as_array().is_some_and(|names| names.contains(&json!(name)));
        change(name, None, "", !is_required);
    }
    let others = &schema["additionalProperties"];
    if others == false {
        change("colour", Some(json!("blue")), "", false);
    }
    for (name, part) in value.as_object().expect("an object") {
        if schema["properties"][name].is_null() {
            assert!(others.is_object(), "{} has no {name}", schema["title"]);
            for (place, part, is_valid) in walk(root, others, part) {
                change(name, Some(part), &dotted(&place), is_valid);
            }
        }
    }
    found
}

fn elements_of(root: &Value, schema: &Value, elements: &[Value]) -> Found {
    let mut found = Found::new();
    let element = if schema["prefixItems"].is_array() { &schema["prefixItems"][0] } else { &schema["items"] };
    for (place, part, is_valid) in elements.first().map_or_else(Vec::new, |first| walk(root, element, first)) {
        let changed = [&[part], &elements[1..]].concat();
        found.push((format!("0{}", dotted(&place)), Value::Array(changed), is_valid));
    }
    if schema["minItems"].is_u64() {
        found.push((String::new(), json!(elements[1..]), false));
        found.push((String::new(), json!([elements, &elements[..1]].concat()), false));
    }
    found
}

fn dotted(place: &str) -> String {
    if place.is_empty() { String::new() } else { format!(".{place}") }
}
