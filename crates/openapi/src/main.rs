//! Writes the documents of both services and the pages, as the code describes them, to a directory.

use std::path::PathBuf;
use std::{env, fs};

fn main() -> std::io::Result<()> {
    let directory = env::args_os().nth(1).map_or_else(|| "openapi".into(), PathBuf::from);
    for (name, text) in openapi::files() {
        fs::write(directory.join(name), text)?;
    }
    Ok(())
}
