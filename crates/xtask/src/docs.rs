//! `cargo xtask docs`: docs/settings.md, made of the commented defaults of both services.
//!
//! A comment explains the settings that follow it without an empty line. Of a comment at the beginning of a
//! section all paragraphs but the last are about the whole section.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::Result;

/// Each service: its name in the repository, the prefix of its variables, and what is said first.
const SERVICES: [(&str, &str); 2] = [("auth-service", "AUTH"), ("resource-service", "RESOURCE")];

const HEAD: &str = "\
# Settings

<!-- Written by `cargo xtask docs` from the defaults.toml of each service; change those, not this. A test compares. -->

A setting is a key in a TOML file, which `--config FILE` names, or an environment variable, which counts before the file. A
variable with `_FILE` appended names a file that holds the value: secrets should come that way. A variable that is set to
nothing is as good as none. A list may be written with commas between its items. A value that cannot be used is refused at
the start, with the name of its key and without the value. So is a variable that was meant for a setting and names none, such
as `AUTH_TOKENS__ACCESS_SECONDS`, with the name of the nearest one.

`auth-service doctor` says what is wrong with the settings of an installation. [.env.example](../.env.example) has
the settings that are most likely to be changed, and says which ones `docker-compose.yml` passes on.
";

/// Writes the page.
pub(crate) fn write(root: &Path) -> Result {
    fs::write(root.join(PAGE), page(root)?)?;
    Ok(())
}

const PAGE: &str = "docs/settings.md";

fn page(root: &Path) -> Result<String> {
    let mut page = HEAD.to_owned();
    for (service, prefix) in SERVICES {
        let text = fs::read_to_string(root.join(format!("crates/{service}/src/defaults.toml")))?;
        write!(page, "\n## {service}\n")?;
        // The head of the file says what the head of this page says.
        let (_, settings) = text.split_once("\n\n").ok_or("defaults.toml has no head")?;
        describe(&mut page, prefix, settings)?;
    }
    Ok(page)
}

/// Settings that share a comment.
#[derive(Default)]
struct Group<'a> {
    paragraphs: Vec<String>,
    settings: Vec<(&'a str, &'a str)>,
}

fn describe(page: &mut String, prefix: &str, text: &str) -> Result {
    let (mut section, mut group) = ("", Group::default());
    for line in text.lines().chain([""]) {
        let comment = line.strip_prefix('#').map(str::trim);
        if !group.settings.is_empty() && (comment.is_some() || line.is_empty()) {
            entry(page, prefix, section, std::mem::take(&mut group))?;
        }
        if let Some(comment) = comment {
            match group.paragraphs.last_mut() {
                Some(last) if !comment.is_empty() && !last.is_empty() => {
                    last.push(' ');
                    last.push_str(comment);
                }
                Some(last) if last.is_empty() => last.push_str(comment),
                Some(_) => group.paragraphs.push(String::new()),
                None => group.paragraphs.push(comment.to_owned()),
            }
        } else if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
            write!(page, "\n### [{section}]\n")?;
        } else if let Some(setting) = line.split_once(" = ") {
            group.settings.push(setting);
        }
    }
    Ok(())
}

/// One entry: each setting with its variable and its default, and then what they mean.
fn entry(page: &mut String, prefix: &str, section: &str, mut group: Group<'_>) -> Result {
    let meaning = group.paragraphs.pop().ok_or("a setting has no comment")?;
    for paragraph in group.paragraphs {
        write!(page, "\n{paragraph}\n")?;
    }
    page.push('\n');
    let many = group.settings.len();
    for (at, (key, default)) in group.settings.into_iter().enumerate() {
        let (path, variable) = if section.is_empty() {
            (key.to_owned(), format!("{prefix}__{key}"))
        } else {
            (format!("{section}.{key}"), format!("{prefix}__{section}__{key}"))
        };
        let end = if at + 1 < many { "\\" } else { "" };
        let variable = variable.to_uppercase();
        writeln!(page, "**`{path}`** · `{variable}` · default `{default}`{end}")?;
    }
    write!(page, "\n{meaning}\n")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::Project;

    #[test]
    fn the_committed_page_is_what_the_defaults_say() {
        let root = Project::find().unwrap().root;
        let committed = fs::read_to_string(root.join(PAGE)).unwrap();
        let made = page(&root).unwrap();
        for (at, (committed, made)) in committed.lines().zip(made.lines()).enumerate() {
            assert_eq!(committed, made, "{PAGE}:{}: run `cargo xtask docs`", at + 1);
        }
        assert!(committed == made, "{PAGE}: run `cargo xtask docs`");
    }

    #[test]
    fn a_comment_explains_what_follows_it() {
        let text = "# Who.\nissuer = \"x\"\n\n[http]\n# Of all.\n#\n# Both of\n# them.\none = 1\n\
            two = 2\n# The last.\nlast = []\n";
        let mut page = String::new();
        describe(&mut page, "AUTH", text).unwrap();
        let expected = "\n**`issuer`** · `AUTH__ISSUER` · default `\"x\"`\n\nWho.\n\
            \n### [http]\n\nOf all.\n\
            \n**`http.one`** · `AUTH__HTTP__ONE` · default `1`\\\n\
            **`http.two`** · `AUTH__HTTP__TWO` · default `2`\n\nBoth of them.\n\
            \n**`http.last`** · `AUTH__HTTP__LAST` · default `[]`\n\nThe last.\n";
        assert_eq!(page, expected);
    }
}
