//! The OpenAPI documents tell of the code: they are made of it, and leave nothing out.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::house::{files, read, setting_names};

/// A service, the file with its route table, and the document that its code describes.
fn documented() -> [(&'static str, &'static str, String); 2] {
    [
        ("auth-service", "http.rs", openapi::auth_service::document()),
        ("resource-service", "routes.rs", openapi::resource_service::document()),
    ]
}

#[test]
fn the_committed_documents_and_pages_are_what_the_code_describes() {
    let made = openapi::files();
    for (name, text) in &made {
        assert!(
            read(&format!("openapi/{name}")) == *text,
            "openapi/{name} is out of date; run `cargo xtask openapi` and commit it"
        );
    }
    let there: BTreeSet<_> = files("openapi").into_iter().map(|(name, _)| name).collect();
    let made: BTreeSet<_> = made.iter().map(|(name, _)| format!("openapi/{name}")).collect();
    assert_eq!(there, made);
}

/// The methods and paths of a part of a route table, as they are written there.
fn table(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let literal = |text: &str| text.split('"').nth(1).expect("a path").to_owned();
    // An open route takes POST, and so does a costly one.
    for (helper, method) in [
        ("get", "get"),
        ("post", "post"),
        ("open", "post"),
        ("costly", "post"),
        ("delete", "delete"),
    ] {
        let start = format!("service({helper}(");
        let entries = code.split(&start).skip(1);
        found.extend(entries.map(|entry| format!("{method} {}", literal(entry))));
    }
    for resource in code.split("web::resource(").skip(1) {
        let path = literal(resource);
        let chain = resource.split("default_service").next().expect("a chain");
        for method in ["get", "post", "put", "patch", "delete"] {
            if chain.contains(&format!("web::{method}()")) {
                found.insert(format!("{method} {path}"));
            }
        }
    }
    found
}

/// The code from `start` to the end of that function.
fn function<'a>(code: &'a str, start: &str) -> &'a str {
    let (_, after) = code.split_once(start).expect("the function");
    after.split("\n}\n").next().expect("its end")
}

/// The account page is no interface: its files are not described.
#[test]
fn every_public_route_is_in_the_document_and_the_reverse() {
    let shared = read("crates/hosting/src/docs.rs");
    for (service, file, document) in documented() {
        let code = read(&format!("crates/{service}/src/{file}"));
        let mut routes = table(function(&code, "pub(crate) fn public("));
        routes.extend(table(function(&code, "fn health(")));
        routes.extend(table(function(&shared, "pub fn routes(")));
        let document: Value = serde_json::from_str(&document).expect("JSON");
        let paths = document["paths"].as_object().expect("paths").iter();
        let described: BTreeSet<_> = paths
            .flat_map(|(path, item)| {
                let methods = item.as_object().expect("methods").keys();
                methods.map(move |method| format!("{method} {path}"))
            })
            .collect();
        assert!(routes.len() > 9, "{routes:?}");
        assert_eq!(routes, described, "{service}");
        // Nothing is added in a way that was not looked for here.
        let public = function(&code, "pub(crate) fn public(");
        let added = public.matches(".service(").count() + public.matches(".route(").count();
        let seen = public.matches("service(get(\"").count()
            + public.matches("service(post(\"").count()
            + public.matches("service(open(\"").count()
            + public.matches("service(costly(\"").count()
            + public.matches("service(delete(\"").count()
            + public.matches(".service(reports)").count()
            + public.matches(".service(me)").count()
            + public.matches(".route(web::").count();
        assert_eq!(added, seen, "{service}");
    }
}

/// The routes of administrators, which have a table and a document of their own.
#[test]
fn every_route_of_administrators_is_in_their_document_and_the_reverse() {
    let code = read("crates/auth-service/src/http/admin.rs");
    let code = function(&code, "pub(super) fn routes(");
    let document: Value = serde_json::from_str(&openapi::admin::document()).expect("JSON");
    let paths = document["paths"].as_object().expect("paths").iter();
    let described: BTreeSet<_> = paths
        .flat_map(|(path, item)| {
            let methods = item.as_object().expect("methods").keys();
            methods.map(move |method| format!("{method} {path}"))
        })
        .collect();
    assert!(described.len() > 15, "{described:?}");
    assert_eq!(table(code), described);
    // Nothing is added in a way that was not looked for here.
    let seen = code.matches("service(get(\"").count()
        + code.matches("service(delete(\"").count()
        + code.matches("web::resource(\"").count();
    assert_eq!(code.matches(".service(").count(), seen);
}

#[test]
fn every_operation_is_told_in_full() {
    let documents = documented().map(|(_, _, document)| document);
    for document in documents.into_iter().chain([openapi::admin::document()]) {
        let document: Value = serde_json::from_str(&document).expect("JSON");
        assert_eq!(document["openapi"], "3.1.0");
        let tags: Vec<_> = document["tags"].as_array().expect("tags").iter().collect();
        let mut ids = BTreeSet::new();
        for (path, item) in document["paths"].as_object().expect("paths") {
            for (method, operation) in item.as_object().expect("methods") {
                let what = format!("{method} {path}");
                for member in ["summary", "description", "operationId"] {
                    let text = operation[member].as_str().unwrap_or_default();
                    assert!(text.len() > 1, "{member} of {what}");
                }
                assert!(ids.insert(operation["operationId"].to_string()), "{what}");
                assert!(tags.iter().any(|tag| tag["name"] == operation["tags"][0]), "{what}");
                assert_examples(&what, &operation["requestBody"]);
                let responses = operation["responses"].as_object().expect("answers");
                for (status, response) in responses {
                    assert_examples(&format!("{what} {status}"), response);
                }
                assert!(responses.contains_key("500"), "{what}");
            }
        }
        for (code, response) in document["components"]["responses"].as_object().expect("some") {
            assert_examples(code, response);
        }
    }
}

fn assert_examples(what: &str, part: &Value) {
    for (media, content) in part["content"].as_object().into_iter().flatten() {
        let some = !content["example"].is_null() || content["examples"].is_object();
        assert!(some && content["schema"].is_object(), "{what} {media}");
    }
}

/// A page that tells an operator of a setting names one that exists.
#[test]
fn the_settings_that_problem_pages_name_exist() {
    let text = read("crates/openapi/src/problems/text.rs");
    let known = setting_names("auth-service");
    let sections: BTreeSet<_> = known.iter().filter_map(|name| name.split_once('.')).collect();
    let mut named = 0;
    for word in text.split('`').skip(1).step_by(2) {
        let Some((section, _)) = word.split_once('.') else { continue };
        if sections.iter().any(|(one, _)| *one == section) {
            named += 1;
            assert!(known.iter().any(|name| name == word), "{word}");
        }
    }
    assert!(named > 3, "{named}");
}
