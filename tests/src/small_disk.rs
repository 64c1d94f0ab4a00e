//! A disk that can be filled: a small file system in memory.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A file system of a few MiB, unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// Mounts one of this size in KiB. `None` where that is not allowed: it needs root on Linux.
    ///
    /// # Panics
    /// When no temporary folder can be created.
    pub fn mount(kib: u32) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={kib}k,mode=777"), "tmpfs"])
            .arg(folder.path())
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then_some(Self { folder })
    }

    /// Its root folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    /// Writes until the disk is full.
    ///
    /// # Panics
    /// When no file can be created.
    pub fn fill(&self) {
        let mut ballast = File::create(self.ballast()).expect("a new file");
        for size in [64 * 1024, 4 * 1024, 1] {
            while ballast.write_all(&vec![b'x'; size]).is_ok() {}
        }
    }

    /// Deletes what [`fill`](Self::fill) wrote.
    ///
    /// # Panics
    /// When the disk was not filled.
    pub fn free(&self) {
        std::fs::remove_file(self.ballast()).expect("it was filled");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // `-l` unmounts it even while a process has a file open there.
        Command::new("umount").arg("-l").arg(self.folder.path()).status().ok();
    }
}
