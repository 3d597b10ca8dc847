//! What the services say of themselves: documents for tools, pages for people.

use std::collections::BTreeSet;

use problem::ProblemCode;
use serde_json::{Value, json};
use testbed::world::{AUDIENCE, ISSUER};
use testbed::{Answer, Kind, World};

/// An answer of a service, at a path of it.
async fn at(world: &World, base: &str, path: &str) -> Answer {
    Answer::to(world.http.get(format!("{base}{path}"))).await
}

/// The values of an attribute.
fn attributes<'a>(html: &'a str, name: &str) -> BTreeSet<&'a str> {
    let start = format!(" {name}=\"");
    let values = html.match_indices(&start).map(|(at, _)| &html[at + start.len()..]);
    values.map(|rest| rest.split('"').next().expect("an end")).collect()
}

/// Checks that a page needs nothing of another host, and no script.
#[track_caller]
fn assert_alone(html: &str) {
    for word in ["<script", "<style", " style=", "javascript:", " src="] {
        assert!(!html.contains(word), "{word}");
    }
    assert_eq!(html.matches("<link ").count(), 1, "the style");
    assert!(attributes(html, "href").iter().any(|link| link.ends_with("docs/style.css")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_link_of_the_documentation_leads_somewhere() {
    let world = World::start(Kind::Sqlite).await;
    for base in [&world.auth, &world.resource] {
        let page = at(&world, base, "/docs").await;
        page.assert_page();
        assert_alone(&page.text);
        let ids = attributes(&page.text, "id");
        let links = attributes(&page.text, "href");
        assert!(ids.len() > 8 && links.len() > 15);
        for link in links {
            if let Some(id) = link.strip_prefix('#') {
                assert!(ids.contains(id), "{link}");
            } else if let Some(path) = link.strip_prefix(ISSUER) {
                at(&world, &world.auth, path).await.assert_page();
            } else {
                assert!(!link.contains("//"), "{link}");
                assert_eq!(at(&world, base, &format!("/{link}")).await.status, 200, "{link}");
            }
        }
        let style = at(&world, base, "/docs/style.css").await;
        style.assert_hardened();
        assert_eq!(style.header("content-type"), Some("text/css; charset=utf-8"));
        assert!(!style.text.contains("url(") && !style.text.contains("@import"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_is_on_the_page_with_its_problems() {
    let world = World::start(Kind::Sqlite).await;
    for base in [&world.auth, &world.resource] {
        let page = at(&world, base, "/docs").await.text;
        let document = at(&world, base, "/openapi.json").await;
        document.assert_hardened();
        assert_eq!(document.header("content-type"), Some("application/json"));
        assert_eq!(document.header("access-control-allow-origin"), Some("*"));
        for (path, item) in document.json()["paths"].as_object().expect("paths") {
            for (method, operation) in item.as_object().expect("methods") {
                let id = operation["operationId"].as_str().expect("an id");
                let (_, article) =
                    page.split_once(&format!("<article id=\"{id}\">")).expect("an article");
                let (article, _) = article.split_once("</article>").expect("its end");
                for part in [path.as_str(), &method.to_uppercase(), "curl -s ", "internal"] {
                    assert!(article.contains(part), "{part} of {method} {path}");
                }
                for status in operation["responses"].as_object().expect("answers").keys() {
                    assert!(article.contains(status), "{status} of {method} {path}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_problem_has_a_page() {
    let world = World::start(Kind::Sqlite).await;
    let index = at(&world, &world.auth, "/problems").await;
    index.assert_page();
    for code in ProblemCode::ALL {
        let path = format!("/problems/{}", code.as_str());
        let answer = at(&world, &world.auth, &path).await;
        answer.assert_page();
        assert_alone(&answer.text);
        let title = code.title();
        for part in [code.as_str(), title, &code.status().to_string(), "What a client should do"] {
            assert!(answer.text.contains(part), "{part} in {}", answer.text);
        }
        for part in [&path[1..], title] {
            assert!(index.text.contains(part), "{part}");
        }
    }
    for path in ["/problems/no-such", "/problems/", "/problems/%ff", "/problems/CSRF"] {
        at(&world, &world.auth, path).await.assert_problem(404, "not-found");
    }
    // The type of a problem is the address of its page.
    let problem = world.post("/refresh", &json!({})).await;
    let kind = problem.member("type");
    let path = kind.strip_prefix(ISSUER).expect("at the issuer");
    at(&world, &world.auth, path).await.assert_page();
}

/// Addresses in the documents are those of the installation, whatever `Host` says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documents_name_where_the_services_are() {
    let issuer = "http://localhost:8443/auth/v1";
    let settings = [("AUTH__ISSUER", issuer), ("RESOURCE__ISSUER", issuer)];
    let world = World::start_with(Kind::Sqlite, &settings).await;
    for (base, server) in [(&world.auth, issuer), (&world.resource, AUDIENCE)] {
        let request = world.http.get(format!("{base}/openapi.json")).header("host", "evil.example");
        let document = Answer::to(request).await;
        assert_eq!(document.json()["servers"], json!([{ "url": server }]));
        assert!(!document.text.contains("evil") && !document.text.contains(ISSUER));
        let example = &document.json()["components"]["examples"]["internal"]["value"]["type"];
        assert_eq!(*example, Value::from(format!("{issuer}/problems/internal")));
        let page = at(&world, base, "/docs").await.text;
        assert!(page.contains(&format!("curl -s {server}/")) && !page.contains(ISSUER));
    }
}
