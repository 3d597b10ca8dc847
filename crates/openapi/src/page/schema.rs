//! What a JSON object consists of, as a table.

use std::fmt::Write as _;

use serde_json::Value;

use super::html::{escaped, line};

/// Schemas refer to each other, none of ours to itself.
const DEPTH: usize = 4;

/// A table of the members of an object, those that are always there first; nothing for what is no
/// object.
pub(super) fn fields(out: &mut String, schema: &Value, components: &Value) {
    let mut rows = Vec::new();
    add(&mut rows, schema, components, "", DEPTH);
    if rows.is_empty() {
        return;
    }
    out.push_str(
        "<table>\n<thead><tr><th>member</th><th>type</th><th>about it</th></tr></thead>\n<tbody>\n",
    );
    for Row { name, kind, required, text } in rows {
        let optional = if required { "" } else { " <small>optional</small>" };
        let _ = writeln!(
            out,
            "<tr><td><code>{}</code>{optional}</td><td>{kind}</td><td>{}</td></tr>",
            escaped(&name),
            line(&text)
        );
    }
    out.push_str("</tbody>\n</table>\n");
}

struct Row {
    name: String,
    kind: String,
    required: bool,
    text: String,
}

fn add(rows: &mut Vec<Row>, schema: &Value, components: &Value, prefix: &str, depth: usize) {
    let schema = resolved(schema, components);
    for part in schema["allOf"].as_array().into_iter().flatten() {
        add(rows, part, components, prefix, depth);
    }
    let Some(properties) = schema["properties"].as_object() else { return };
    let is_required = |name: &String| {
        schema["required"].as_array().into_iter().flatten().any(|one| one == name.as_str())
    };
    let (first, last): (Vec<_>, Vec<_>) =
        properties.iter().partition(|(name, _)| is_required(name));
    for (name, property) in first.into_iter().chain(last) {
        let kind = resolved(property, components);
        let full = format!("{prefix}{name}");
        rows.push(Row {
            kind: kind_of(property, components),
            required: is_required(name),
            text: description(property).to_owned(),
            name: full.clone(),
        });
        if depth > 0 && kind["type"] == "array" {
            add(rows, &kind["items"], components, &format!("{full}[]."), depth - 1);
        } else if depth > 0 && kind["type"] == "object" {
            add(rows, kind, components, &format!("{full}."), depth - 1);
        }
    }
}

/// What a reference leads to; of a reference with something beside it, or of one that may be null,
/// the same.
fn resolved<'a>(schema: &'a Value, components: &'a Value) -> &'a Value {
    let mut schema = schema;
    for _ in 0..DEPTH {
        let mut choices = kinds(schema);
        let only = match schema["allOf"].as_array().map(Vec::as_slice) {
            Some([only]) => Some(only),
            _ => choices.next().filter(|_| choices.next().is_none()),
        };
        let name = schema["$ref"].as_str().and_then(|name| name.rsplit('/').next());
        schema = match (name, only) {
            (Some(name), _) => &components["schemas"][name],
            (None, Some(only)) => only,
            (None, None) => break,
        };
    }
    schema
}

/// What something may be besides null.
fn kinds(schema: &Value) -> impl Iterator<Item = &Value> {
    let choices = schema["oneOf"].as_array().into_iter().flatten();
    choices.filter(|choice| choice["type"] != "null")
}

/// What is said of a property. Where it refers to something or is null, that stands beside the reference.
fn description(property: &Value) -> &str {
    let mut all = std::iter::once(property).chain(kinds(property));
    all.find_map(|one| one["description"].as_str()).unwrap_or_default()
}

/// The type in words, as HTML.
fn kind_of(property: &Value, components: &Value) -> String {
    let kind = resolved(property, components);
    let several: Vec<_> = kinds(kind).map(|one| kind_of(one, components)).collect();
    if !several.is_empty() {
        let nullable = property["oneOf"].is_array() && !std::ptr::eq(property, kind);
        return several.join(" or ") + if nullable { " or null" } else { "" };
    }
    if let Some(values) = kind["enum"].as_array() {
        let values = values.iter().filter_map(Value::as_str);
        let values: Vec<_> = values.map(|one| format!("<code>{}</code>", escaped(one))).collect();
        return values.join(" or ");
    }
    let (name, mut nullable) = match &kind["type"] {
        Value::Array(several) => {
            let name = several.iter().filter_map(Value::as_str).find(|one| *one != "null");
            (name.unwrap_or_default(), true)
        }
        name => (name.as_str().unwrap_or_default(), false),
    };
    nullable |= property["oneOf"].is_array();
    let name = match (name, kind["format"].as_str()) {
        ("string", Some("date-time")) => "instant".to_owned(),
        ("string", Some("uuid")) => "UUID".to_owned(),
        ("array", _) => format!("list of {}", kind_of(&kind["items"], components)),
        (name, _) => escaped(name),
    };
    if nullable { name + " or null" } else { name }
}
