//! The statements of a migration, each with the comment above it.

/// A statement, its words in small letters and without comments.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) words: Vec<String>,
    /// The lines of the comment directly above it.
    pub(super) comment: Vec<String>,
}

impl Statement {
    pub(super) fn text(&self) -> String {
        self.words.join(" ")
    }

    pub(super) fn begins(&self, words: &[&str]) -> bool {
        self.words.len() >= words.len() && self.words.iter().zip(words).all(|(one, it)| one == it)
    }

    pub(super) fn has(&self, word: &str) -> bool {
        self.words.iter().any(|one| one == word)
    }

    /// The word after these, which follow each other.
    pub(super) fn after(&self, words: &[&str]) -> Option<&str> {
        let at = self.words.windows(words.len()).position(|window| window == words)?;
        self.words.get(at + words.len()).map(String::as_str)
    }
}

/// What a migration does, in its order. A text in quotes is one word, and so is what stands between two `$$`.
pub(super) fn statements(sql: &str) -> Vec<Statement> {
    let (mut all, mut rest) = (Vec::new(), sql);
    let mut statement = Statement { words: Vec::new(), comment: Vec::new() };
    // Of a trigger of SQLite, whose statements end with semicolons of their own.
    let mut depth = 0_usize;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("--") {
            let line = rest.lines().next().expect("it is not empty");
            if statement.words.is_empty() {
                statement.comment.push(line.trim_start_matches('-').trim().to_owned());
            }
            line.len()
        } else if rest.starts_with("/*") {
            rest.find("*/").expect("a comment ends") + 2
        } else if first == '\'' {
            // Two quotes within a text begin the next one.
            let length = 2 + rest[1..].find('\'').expect("a text ends");
            statement.words.push("''".to_owned());
            length
        } else if let Some(tag) = dollars(rest) {
            let length = tag.len() + rest[tag.len()..].find(tag).expect("it ends") + tag.len();
            statement.words.push(rest[..length].to_lowercase());
            length
        } else if is_in_word(first) {
            let length = rest.find(|it| !is_in_word(it)).unwrap_or(rest.len());
            let word = rest[..length].to_lowercase();
            if statement.has("trigger") && !statement.has("function") {
                match word.as_str() {
                    "begin" | "case" => depth += 1,
                    "end" => depth = depth.checked_sub(1).expect("it began"),
                    _ => {}
                }
            }
            statement.words.push(word);
            length
        } else {
            if first == ';' && depth == 0 {
                let next = Statement { words: Vec::new(), comment: Vec::new() };
                all.push(std::mem::replace(&mut statement, next));
            } else if !first.is_whitespace() {
                statement.words.push(first.to_string());
            } else if statement.words.is_empty() && rest.starts_with("\n\n") {
                // What stands above an empty line belongs to nothing below it.
                statement.comment.clear();
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    assert!(statement.words.is_empty(), "a statement without an end: {}", statement.text());
    all
}

fn is_in_word(it: char) -> bool {
    it.is_alphanumeric() || it == '_' || it == '.' || it == '"'
}

/// `$$` or `$name$`, if it begins with that.
fn dollars(text: &str) -> Option<&str> {
    let end = 2 + text.strip_prefix('$')?.find('$')?;
    let tag = &text[..end];
    tag[1..end - 1].chars().all(|it| it.is_alphanumeric() || it == '_').then_some(tag)
}

#[test]
fn statements_are_told_apart() {
    let sql = "-- What it is.\n\n-- Why.\n-- And how.\nCREATE  function f() returns void as $x$ select 1; $x$;\n\
        create trigger t after insert on a begin select case when 1 then ';' end; delete from b; end;\n\
        /* ; */ insert into a values ('it''s; so', 1); -- then\nselect 1;";
    let all = statements(sql);
    let texts: Vec<_> = all.iter().map(Statement::text).collect();
    assert_eq!(
        texts,
        [
            "create function f ( ) returns void as $x$ select 1; $x$",
            "create trigger t after insert on a begin select case when 1 then '' end ; \
             delete from b ; end",
            "insert into a values ( '' '' , 1 )",
            "select 1",
        ]
    );
    assert_eq!(all[0].comment, ["Why.", "And how."]);
    assert_eq!(all[0].after(&["create", "function"]), Some("f"));
    assert!(all[1].comment.is_empty() && all[2].begins(&["insert", "into"]));
}
