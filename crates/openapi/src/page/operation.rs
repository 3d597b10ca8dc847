//! One operation of an OpenAPI document as a part of a page.

use std::fmt::Write as _;

use serde_json::Value;

use super::html::{escaped, line, paragraphs};
use super::schema;

/// A method of a path.
pub(super) struct Operation<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) value: &'a Value,
}

impl<'a> Operation<'a> {
    pub(super) fn text(&self, member: &str) -> &'a str {
        self.value[member].as_str().unwrap_or_default()
    }

    /// What links to it end with.
    pub(super) fn id(&self) -> &'a str {
        self.text("operationId")
    }

    /// Its method and path, as HTML.
    pub(super) fn name(&self) -> String {
        let (method, path) = (escaped(self.method), escaped(self.path));
        format!("<code><b class=\"{method}\">{}</b> {path}</code>", method.to_uppercase())
    }
}

/// Everything about it.
pub(super) fn render(out: &mut String, one: &Operation, server: &str, components: &Value) {
    let _ = write!(
        out,
        "<article id=\"{}\">\n<h3>{} <small>{}</small></h3>\n{}{}",
        escaped(one.id()),
        one.name(),
        line(one.text("summary")),
        paragraphs(one.text("description")),
        credentials(one)
    );
    request(out, one, server, components);
    let responses = one.value["responses"].as_object().into_iter().flatten();
    let is_problem = |response: &Value| {
        response["$ref"].is_string() || response["content"]["application/problem+json"].is_object()
    };
    let (bad, good): (Vec<_>, Vec<_>) = responses.partition(|(_, response)| is_problem(response));
    for (status, response) in good {
        answer(out, status, response, components);
    }
    problems(out, &bad, components);
    out.push_str("</article>\n");
}

/// How the caller shows who they are.
fn credentials(one: &Operation) -> String {
    let schemes = one.value["security"].as_array().into_iter().flatten();
    let keys = schemes.filter_map(|scheme| scheme.as_object()?.keys().next());
    let names: Vec<_> = keys
        .map(|key| match key.as_str() {
            "bearer" => "an access token in <code>Authorization</code>",
            _ => "the refresh cookie",
        })
        .collect();
    match names[..] {
        [] => String::new(),
        ["an access token in <code>Authorization</code>"] => {
            format!("<p class=\"needs\">Needs {}.</p>\n", names[0])
        }
        _ => format!("<p class=\"needs\">Takes {}, if there is one.</p>\n", names.join(" or ")),
    }
}

fn parameters(out: &mut String, one: &Operation) {
    let all: Vec<_> = one.value["parameters"].as_array().into_iter().flatten().collect();
    if all.is_empty() {
        return;
    }
    out.push_str("<dl>\n");
    for parameter in all {
        let text = |member: &str| parameter[member].as_str().unwrap_or_default();
        let _ = writeln!(
            out,
            "<dt><code>{}</code> <small>{}</small></dt><dd>{}</dd>",
            escaped(text("name")),
            match text("in") {
                "path" => "in the path",
                "query" => "in the query",
                _ => "a header",
            },
            line(text("description"))
        );
    }
    out.push_str("</dl>\n");
}

/// What it takes, and a command that sends it.
fn request(out: &mut String, one: &Operation, server: &str, components: &Value) {
    let mut path = one.path.to_owned();
    for parameter in one.value["parameters"].as_array().into_iter().flatten() {
        if let (Some(name), Some(example)) =
            (parameter["name"].as_str(), parameter["example"].as_str())
        {
            path = path.replace(&format!("{{{name}}}"), example);
        }
    }
    let mut curl = format!("curl -s {server}{path}");
    if one.method == "delete" {
        curl.push_str(" -X DELETE");
    }
    if one.value["security"][0]["bearer"].is_array() {
        curl.push_str(" \\\n  -H \"authorization: Bearer $ACCESS\"");
    }
    out.push_str("<div class=\"pair\">\n<div>\n<h4>Request</h4>\n");
    parameters(out, one);
    if let Some(content) = one.value["requestBody"]["content"].as_object() {
        let media: Vec<_> =
            content.keys().map(|media| format!("<code>{}</code>", escaped(media))).collect();
        let _ = writeln!(out, "<p>{}</p>", media.join(" or "));
        if let Some(body) = content.values().next() {
            schema::fields(out, &body["schema"], components);
            let _ = write!(
                curl,
                " \\\n  -H 'content-type: application/json' \\\n  -d '{}'",
                body["example"]
            );
        }
    }
    let _ = writeln!(out, "</div>\n<pre><code>{}</code></pre>\n</div>", escaped(&curl));
}

fn answer(out: &mut String, status: &str, response: &Value, components: &Value) {
    let description = response["description"].as_str().unwrap_or_default();
    let _ = write!(
        out,
        "<div class=\"pair\">\n<div>\n<h4>Answer {}</h4>\n<p>{}</p>\n",
        escaped(status),
        line(description)
    );
    let headers = response["headers"].as_object();
    if let Some(headers) = headers.filter(|headers| !headers.is_empty()) {
        out.push_str("<dl>\n");
        for (name, header) in headers {
            let text = header["description"].as_str().unwrap_or_default();
            let name = escaped(name);
            let _ = writeln!(out, "<dt><code>{name}</code></dt><dd>{}</dd>", line(text));
        }
        out.push_str("</dl>\n");
    }
    let mut examples = String::new();
    for (media, content) in response["content"].as_object().into_iter().flatten() {
        let example = &content["example"];
        let text = match example {
            Value::String(text) => text.clone(),
            example => serde_json::to_string_pretty(example).unwrap_or_default(),
        };
        let _ = writeln!(out, "<p><code>{}</code></p>", escaped(media));
        schema::fields(out, &content["schema"], components);
        let _ = writeln!(examples, "<pre><code>{}</code></pre>", escaped(&text));
    }
    let _ = writeln!(out, "</div>\n{examples}</div>");
}

/// Each code, with the way to its page.
fn problems(out: &mut String, responses: &[(&String, &Value)], components: &Value) {
    out.push_str("<h4>Problems</h4>\n<ul class=\"problems\">\n");
    for (status, response) in responses {
        let named = response["$ref"].as_str().and_then(|name| name.rsplit('/').next());
        let content = &response["content"]["application/problem+json"];
        let several = content["examples"].as_object().into_iter().flatten();
        for code in named.into_iter().chain(several.map(|(code, _)| code.as_str())) {
            let example = &components["examples"][code]["value"];
            let text = |member: &str| example[member].as_str().unwrap_or_default();
            let _ = writeln!(
                out,
                "<li>{status} <a href=\"{}\"><code>{}</code></a> {}</li>",
                escaped(text("type")),
                escaped(code),
                line(text("title"))
            );
        }
    }
    out.push_str("</ul>\n");
}
