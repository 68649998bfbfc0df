//! Raw results: one JSON object a line, in a file of the run's own.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

/// Where results go as they come.
pub(crate) struct Journal {
    file: BufWriter<File>,
    path: PathBuf,
}

impl Journal {
    /// A new file in `folder`.
    pub(crate) fn new(folder: &Path, name: &str) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.join(name);
        let file = File::create_new(&path).with_context(|| path.display().to_string())?;
        Ok(Self { file: BufWriter::new(file), path })
    }

    /// A file that is there, to be gone on with.
    pub(crate) fn append(path: &Path) -> Result<Self> {
        let file = File::options().append(true).open(path).with_context(|| path.display().to_string())?;
        Ok(Self { file: BufWriter::new(file), path: path.to_owned() })
    }

    /// Writes one line and makes sure that it is there should the run be cut short.
    pub(crate) fn write<T: Serialize>(&mut self, line: &T) -> Result<()> {
        serde_json::to_writer(&mut self.file, line)?;
        self.file.write_all(b"\n")?;
        Ok(self.file.flush()?)
    }

    /// Which file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}
