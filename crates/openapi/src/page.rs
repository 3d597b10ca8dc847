//! An OpenAPI document as a page.

pub(crate) mod html;
mod operation;
mod schema;

use std::fmt::{self, Write as _};

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

use html::{escaped, line, paragraphs};
use operation::Operation;

/// What a page tells of a document.
#[derive(Deserialize)]
struct Document {
    info: Info,
    servers: Vec<Server>,
    tags: Vec<Tag>,
    paths: Ordered,
    components: Value,
}

#[derive(Deserialize)]
struct Info {
    title: String,
    description: String,
}

#[derive(Deserialize)]
struct Server {
    url: String,
}

#[derive(Deserialize)]
struct Tag {
    name: String,
    description: String,
}

/// The page.
///
/// # Panics
/// When the document is none of ours.
pub(crate) fn of_document(document: &str) -> String {
    let document: Document = serde_json::from_str(document).expect("a document of ours");
    let server = document.servers.first().map_or("", |server| &server.url);
    let operations: Vec<_> = document
        .paths
        .0
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().into_iter().flatten();
            methods.map(move |(method, value)| Operation { method, path, value })
        })
        .collect();
    let of = |tag: &Tag| {
        let name = tag.name.clone();
        operations.iter().filter(move |one| one.value["tags"][0] == name.as_str())
    };

    let Info { title, description } = &document.info;
    let mut body = format!(
        "<header>\n<h1>{}</h1>\n{}<p>For tools: <a href=\"openapi.json\">openapi.json</a>.</p>\n\
         </header>\n<div class=\"reference\">\n<nav aria-labelledby=\"contents\">\n\
         <h2 id=\"contents\">Contents</h2>\n",
        escaped(title),
        paragraphs(description)
    );
    for tag in &document.tags {
        let _ = write!(body, "<h3>{}</h3>\n<ul>\n", escaped(&tag.name));
        for one in of(tag) {
            let _ = writeln!(
                body,
                "<li><a href=\"#{}\">{}</a> {}</li>",
                escaped(one.id()),
                one.name(),
                line(one.text("summary"))
            );
        }
        body.push_str("</ul>\n");
    }
    body.push_str("</nav>\n<div>\n");
    for tag in &document.tags {
        let _ = write!(body, "<section>\n<h2>{}</h2>\n", escaped(&tag.name));
        body.push_str(&paragraphs(&tag.description));
        for one in of(tag) {
            operation::render(&mut body, one, server, &document.components);
        }
        body.push_str("</section>\n");
    }
    body.push_str("</div>\n</div>\n");
    html::page(title, "docs/style.css", &body)
}

/// The members of an object in the order in which they are written.
struct Ordered(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Ordered;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Ordered(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}
