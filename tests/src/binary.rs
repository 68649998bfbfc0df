//! Where the `plenary` binary is.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

/// The binary under test: `PLENARY_BIN`, else the one that cargo put beside the tests.
///
/// # Errors
/// When there is none yet.
pub fn plenary() -> Result<PathBuf> {
    let path = match std::env::var_os("PLENARY_BIN") {
        Some(path) => PathBuf::from(path),
        None => {
            let test = std::env::current_exe().context("a test knows its own path")?;
            let profile = test.ancestors().nth(2).context("a test lies in PROFILE/deps")?;
            profile.join("plenary")
        }
    };
    ensure!(path.is_file(), "no binary at {}: run `cargo build -p plenary` first", path.display());
    Ok(path)
}
