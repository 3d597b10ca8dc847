//! What the system promises, over HTTP, on both databases.

mod refresh;
