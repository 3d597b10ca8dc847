//! The little HTML that pages are made of.

/// As on the account page, but within the page: the resource-service has no file of it.
const ICON: &str = include_str!("../../../../clients/page/icon.svg");

/// A whole page. `style` is where the style is from there.
pub(crate) fn page(title: &str, style: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{}</title>\n<link rel=\"stylesheet\" href=\"{style}\">\n</head>\n\
         <body>\n<a class=\"skip\" href=\"#main\">Skip to content</a>\n\
         <header class=\"bar\">\n<p class=\"brand\">{ICON}Latchkey</p>\n</header>\n\
         <main id=\"main\">\n{body}</main>\n</body>\n</html>\n",
        escaped(title)
    )
}

/// Text that means itself.
pub(crate) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// Text in a line, with what stands between backticks as code.
pub(crate) fn line(text: &str) -> String {
    let mut html = String::new();
    for (n, part) in text.split('`').enumerate() {
        let part = escaped(part);
        if n % 2 == 1 {
            html.extend(["<code>", &part, "</code>"]);
        } else {
            html.push_str(&part);
        }
    }
    html
}

/// Text in paragraphs, which empty lines divide.
pub(crate) fn paragraphs(text: &str) -> String {
    text.split("\n\n").fold(String::new(), |html, part| html + "<p>" + &line(part) + "</p>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_becomes_markup() {
        assert_eq!(line("a `<b>` & c"), "a <code>&lt;b&gt;</code> &amp; c");
        assert_eq!(escaped("\"'><"), "&quot;&#39;&gt;&lt;");
    }
}
