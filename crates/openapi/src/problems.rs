//! The pages about problems, for people: what a problem's `type` leads to.

mod text;

use std::fmt::Write as _;

use problem::{Problem, ProblemCode};

use crate::auth_service::ISSUER;
use crate::page::html::{self, escaped, line};
use text::{Explanation, explain};

/// The list, then a page for each; with the paths where they are served.
pub(crate) fn pages() -> Vec<(String, String)> {
    let mut all = ProblemCode::ALL;
    all.sort_by_key(|code| code.status());
    let mut pages = vec![("/problems".to_owned(), index(&all))];
    pages.extend(all.map(|code| (format!("/problems/{}", code.as_str()), page(code))));
    pages
}

fn index(all: &[ProblemCode]) -> String {
    let mut body = "<header>\n<h1>What can go wrong</h1>\n<p>A problem answer says which of these it \
                    is in <code>code</code>. Its <code>type</code> is the address of the page below.</p>\n\
                    </header>\n<ul class=\"problems\">\n"
        .to_owned();
    for code in all {
        let (name, status) = (code.as_str(), code.status());
        let _ = writeln!(
            body,
            "<li><span class=\"status\">{status}</span> <a href=\"problems/{name}\"><code>{name}</code></a> \
             {}</li>",
            line(code.title())
        );
    }
    body.push_str("</ul>\n<p><a href=\"docs\">All routes</a></p>\n");
    html::page("What can go wrong", "docs/style.css", &body)
}

fn page(code: ProblemCode) -> String {
    let Explanation { meaning, client, operator, example } = explain(code);
    let (name, status) = (code.as_str(), code.status());
    let mut body = format!(
        "<header>\n<h1>{}</h1>\n<p><code>{name}</code> <span class=\"status\">HTTP {status}</span></p>\n\
         <p>{}</p>\n</header>\n<div class=\"cards\">\n\
         <section class=\"card\">\n<h2>What a client should do</h2>\n<p>{}</p>\n</section>\n",
        escaped(code.title()),
        line(meaning),
        line(client)
    );
    if let Some(operator) = operator {
        let _ = writeln!(
            body,
            "<section class=\"card\">\n<h2>If you run the service</h2>\n<p>{}</p>\n</section>",
            line(operator)
        );
    }
    let mut problem = Problem::new(code, example);
    problem.kind = format!("{ISSUER}{}", problem.kind);
    problem.request_id = Some("3a624a47b2784337895ddeae2dbe3189".to_owned());
    match code {
        ProblemCode::SessionRevoked => problem.reason = Some("logout"),
        ProblemCode::PasswordPolicy => problem.violations = vec!["too_short"],
        _ => {}
    }
    let _ = write!(
        body,
        "<section class=\"card\">\n<h2>An example</h2>\n<pre><code>{}</code></pre>\n</section>\n</div>\n\
         <p><a href=\"../problems\">All problems</a>, <a href=\"../docs\">all routes</a></p>\n",
        escaped(&serde_json::to_string_pretty(&problem).unwrap_or_default())
    );
    html::page(code.title(), "../docs/style.css", &body)
}
