//! Which statements only add to a schema, so that programs of before notice nothing: that much is known, and
//! everything else needs a reason.

use std::collections::BTreeSet;

use super::statements::Statement;

/// What a migration has made, for the statements after it.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// Tables of this migration: programs of before use none of them.
    tables: BTreeSet<String>,
    /// Functions that refuse what somebody does, also of earlier migrations.
    refusing: BTreeSet<String>,
}

impl Made {
    /// For the next migration of the same database.
    pub(super) fn next_migration(&mut self) {
        self.tables.clear();
    }

    /// What a statement does besides adding; `None` where it only adds. `later` are the statements after it.
    pub(super) fn contracts(
        &mut self,
        statement: &Statement,
        later: &[Statement],
    ) -> Option<&'static str> {
        let words: Vec<&str> = statement.words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["create", "table", ..] => {
                let name = statement.after(&["not", "exists"]).unwrap_or(words[2]);
                self.tables.insert(name.to_owned());
                None
            }
            ["create", "function", name, ..]
            | ["create", "or", "replace", "function", name, ..] => {
                if statement.words.iter().any(|word| word.contains("raise exception")) {
                    self.refusing.insert((*name).to_owned());
                } else {
                    self.refusing.remove(*name);
                }
                None
            }
            ["create", "view" | "index" | "type" | "sequence", ..]
            | ["create", "or", "replace", "view", ..]
            | ["grant" | "comment", ..] => None,
            ["create", "unique", "index", ..] => {
                let on = statement.after(&["on"]);
                (!self.is_new(on)).then_some("refuses rows that programs of before write")
            }
            ["create", "trigger", ..] | ["create", "or", "replace", "trigger", ..] => {
                self.trigger(statement)
            }
            ["alter", "table", name, actions @ ..] => {
                if self.is_new(Some(*name)) {
                    None
                } else {
                    altered(actions)
                }
            }
            ["insert", "into", ..] => {
                let values = statement.has("values");
                let other = ["select", "update", "replace"].iter().any(|it| statement.has(it));
                (!values || other).then_some("writes rows whose number is not known")
            }
            ["drop", kind @ ("trigger" | "view" | "function"), name, ..] => {
                let again = |one: &Statement| {
                    one.after(&["create", *kind]) == Some(*name)
                        || one.after(&["replace", *kind]) == Some(*name)
                };
                (!later.iter().any(again)).then_some("takes away what programs of before rely on")
            }
            ["drop", ..] => Some("takes away what programs of before use"),
            ["update" | "delete", ..] => Some("changes rows that are there"),
            ["do", ..] => Some("does what only a reader can judge"),
            _ => Some("is none of the statements that are known to add only"),
        }
    }

    fn is_new(&self, table: Option<&str>) -> bool {
        table.is_some_and(|table| self.tables.contains(table))
    }

    /// One that runs before a change, or refuses it, or changes what is there, is a new rule for whoever writes.
    fn trigger(&self, statement: &Statement) -> Option<&'static str> {
        if self.is_new(statement.after(&["on"])) {
            return None;
        }
        let calls = statement.after(&["execute", "function"]);
        let refuses = calls.is_some_and(|name| self.refusing.contains(name));
        let rules = ["before", "instead", "raise"].iter().any(|it| statement.has(it));
        // After the first `begin` are the statements of one of SQLite.
        let begin = statement.words.iter().position(|word| word == "begin");
        let body = &statement.words[begin.unwrap_or(statement.words.len())..];
        let writes =
            body.iter().any(|word| ["update", "delete", "replace"].contains(&word.as_str()));
        (refuses || rules || writes).then_some("is a rule for what programs of before write")
    }
}

/// Only a column that may be left out, and for which no row is written anew.
fn altered(actions: &[&str]) -> Option<&'static str> {
    let mut depth = 0;
    let actions = actions.split(|word| {
        depth += i32::from(*word == "(") - i32::from(*word == ")");
        *word == "," && depth == 0
    });
    for action in actions {
        let has = |word: &str| action.contains(&word);
        if !action.starts_with(&["add", "column"]) {
            return Some("changes a table otherwise than by another column");
        }
        if ["unique", "primary", "references", "check", "generated"].iter().any(|it| has(it)) {
            return Some("refuses rows that programs of before write");
        }
        let default = action.iter().position(|word| *word == "default");
        if action.windows(2).any(|pair| pair == ["not", "null"]) && default.is_none() {
            return Some("asks for a column that programs of before do not write");
        }
        if default.is_some_and(|at| action[at..].contains(&"(")) {
            return Some("may write every row anew");
        }
    }
    None
}
