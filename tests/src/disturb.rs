//! What spoils a single node's day: its wall clock, its disk's patience, its disk's space.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// The library that nodes are started with, built from `disturb.c`.
#[derive(Debug, Clone)]
pub struct Library(PathBuf);

impl Library {
    /// Builds it into a folder.
    ///
    /// # Errors
    /// When there is no C compiler.
    pub fn build(folder: &Path) -> Result<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/disturb/disturb.c");
        let library = folder.join("disturb.so");
        let mut command = Command::new("cc");
        run(command.args(["-shared", "-fPIC", "-O2", "-o"]).arg(&library).arg(source).arg("-ldl"))?;
        Ok(Self(library))
    }
}

/// One node's clock and syncs. Both take effect at once, while the node runs.
#[derive(Debug)]
pub struct Disturbance {
    path: PathBuf,
    page: File,
    library: Library,
}

impl Disturbance {
    /// Undisturbed, in a file of this folder.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn new(folder: &Path, library: &Library) -> Result<Self> {
        let path = folder.join("disturb.page");
        let page = File::options().create(true).truncate(true).write(true).open(&path)?;
        page.write_all_at(&[0; 16], 0)?;
        Ok(Self { path, page, library: library.clone() })
    }

    /// What the node has to be started with.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let text = |path: &Path| path.display().to_string();
        vec![("LD_PRELOAD".to_owned(), text(&self.library.0)), ("DISTURB_PAGE".to_owned(), text(&self.path))]
    }

    /// Moves the node's wall clock to so many milliseconds off.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn clock_off_by_ms(&self, ms: i64) -> Result<()> {
        self.page.write_all_at(&(ms * 1_000_000).to_ne_bytes(), 0).context("disturb.page")
    }

    /// Makes every sync take so many milliseconds longer.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn syncs_take_ms(&self, ms: u64) -> Result<()> {
        self.page.write_all_at(&(ms * 1000).to_ne_bytes(), 8).context("disturb.page")
    }
}

/// A small file system of its own (ext4 in a file) for one node's data. Needs root.
#[derive(Debug)]
pub struct Volume {
    mounted: PathBuf,
}

impl Volume {
    /// Makes one of so many MiB and mounts it at `at`.
    ///
    /// # Errors
    /// When it can't be made or mounted.
    pub fn mount(at: &Path, image: &Path, mib: u64) -> Result<Self> {
        File::create(image)?.set_len(mib << 20)?;
        run(Command::new("mkfs.ext4").args(["-q", "-m", "0", "-F"]).arg(image))?;
        fs::create_dir_all(at)?;
        run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(at))?;
        Ok(Self { mounted: at.to_owned() })
    }

    fn ballast(&self) -> PathBuf {
        self.mounted.join("ballast")
    }

    /// Leaves not a byte free.
    ///
    /// # Errors
    /// When the space can't be asked for.
    pub fn fill(&self) -> Result<()> {
        let free = run(Command::new("df").args(["--output=avail", "-B1"]).arg(&self.mounted))?;
        let free: u64 = free.lines().last().unwrap_or_default().trim().parse().context("df")?;
        // What the file system keeps for itself is not to be had; the rest is taken piece by piece.
        let most = free.saturating_sub(1 << 20).max(1);
        run(Command::new("fallocate").arg("-l").arg(most.to_string()).arg(self.ballast()))?;
        let rest = Command::new("dd")
            .args(["if=/dev/zero", "oflag=append", "conv=notrunc", "bs=4k", "status=none"])
            .arg(format!("of={}", self.ballast().display()))
            .stderr(Stdio::null())
            .status()?;
        ensure!(!rest.success(), "the volume does not get full");
        Ok(())
    }

    /// Frees it again.
    ///
    /// # Errors
    /// When the ballast can't be removed.
    pub fn free(&self) -> Result<()> {
        match fs::remove_file(self.ballast()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context("ballast"),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Lazily: a node that was killed just now may still hold a file.
        let _ = run(Command::new("umount").arg("-l").arg(&self.mounted));
    }
}

/// Runs a command to its end and gives what it printed.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}", said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
