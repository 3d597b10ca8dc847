//! `GET /problems/{code}`: what a problem's `type` leads to, for people.

mod text;

use std::fmt::Write as _;

use actix_web::{HttpResponse, web};
use hosting::answers;
use hosting::docs;
use hosting::docs::html::{escaped, line, page as html};
use problem::{Problem, ProblemCode};

use crate::app::App;
use text::{Explanation, explain};

/// All of them.
pub(crate) async fn index() -> HttpResponse {
    let mut body = "<header>\n<h1>What can go wrong</h1>\n<p>A problem answer says which of these it \
                    is in <code>code</code>. Its <code>type</code> is the address of the page below.</p>\n\
                    </header>\n<main>\n<ul class=\"problems\">\n"
        .to_owned();
    let mut all = ProblemCode::ALL;
    all.sort_by_key(|code| code.status());
    for code in all {
        let (name, status) = (code.as_str(), code.status());
        let _ = writeln!(
            body,
            "<li><span class=\"status\">{status}</span> <a href=\"problems/{name}\"><code>{name}</code></a> \
             {}</li>",
            line(code.title())
        );
    }
    body.push_str("</ul>\n<p><a href=\"docs\">All routes</a></p>\n</main>\n");
    docs::answer(html("What can go wrong", "docs/style.css", &body))
}

/// One.
pub(crate) async fn page(app: web::Data<App>, code: web::Path<String>) -> HttpResponse {
    let Some(code) = ProblemCode::ALL.into_iter().find(|one| one.as_str() == code.as_str()) else {
        return answers::not_found().await;
    };
    docs::answer(html(code.title(), "../docs/style.css", &body(&app.config.issuer, code)))
}

fn body(issuer: &str, code: ProblemCode) -> String {
    let Explanation { meaning, client, operator, example } = explain(code);
    let (name, status) = (code.as_str(), code.status());
    let mut body = format!(
        "<header>\n<h1>{}</h1>\n<p><code>{name}</code> <span class=\"status\">HTTP {status}</span></p>\n\
         </header>\n<main>\n<section>\n<p>{}</p>\n<h2>What a client should do</h2>\n<p>{}</p>\n",
        escaped(code.title()),
        line(meaning),
        line(client)
    );
    if let Some(operator) = operator {
        let _ = write!(body, "<h2>If you run the service</h2>\n<p>{}</p>\n", line(operator));
    }
    let mut problem = Problem::new(code, example);
    problem.kind = format!("{issuer}{}", problem.kind);
    problem.request_id = Some("3a624a47b2784337895ddeae2dbe3189".to_owned());
    match code {
        ProblemCode::SessionRevoked => problem.reason = Some("logout"),
        ProblemCode::PasswordPolicy => problem.violations = vec!["too_short"],
        _ => {}
    }
    let _ = write!(
        body,
        "<h2>An example</h2>\n<pre><code>{}</code></pre>\n<p><a href=\"../problems\">All problems</a>, \
         <a href=\"../docs\">all routes</a></p>\n</section>\n</main>\n",
        escaped(&serde_json::to_string_pretty(&problem).unwrap_or_default())
    );
    body
}
