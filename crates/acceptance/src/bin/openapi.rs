//! Writes the OpenAPI documents of both services, as the code describes them, to a directory.

use std::path::PathBuf;
use std::{env, fs};

fn main() -> std::io::Result<()> {
    let directory = env::args_os().nth(1).map_or_else(|| "openapi".into(), PathBuf::from);
    fs::write(directory.join("auth-service.json"), auth_service::document())?;
    fs::write(directory.join("resource-service.json"), resource_service::document())
}
