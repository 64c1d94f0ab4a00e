//! The file of a SQLite store: whether it is still the file that was opened, and which process may serve from it.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::sql::ConnectError;

/// How often to look for the process id in a lock file: the holder writes it just after it has locked the file.
const LOOKS: u32 = 50;

/// An open database file.
#[derive(Debug)]
pub(crate) struct DatabaseFile {
    path: PathBuf,
    identity: Option<Identity>,
    /// Held if no other process may serve from the file. The operating system releases it when the process ends,
    /// in any way.
    lock: Option<File>,
}

/// Identifies a file regardless of its name.
type Identity = (u64, u64);

impl DatabaseFile {
    /// A file that other processes may use too.
    pub(super) fn shared(path: &Path) -> Self {
        Self { path: path.to_owned(), identity: identity(path), lock: None }
    }

    /// Locks the database file at this path, which may not exist yet, for this process.
    ///
    /// The lock is on a separate file next to it, because SQLite's own locks are on the database file. That file
    /// is never removed: if it were removed while another process waits for it, two processes could lock two
    /// files.
    pub(super) fn lock(path: &Path) -> Result<File, ConnectError> {
        let beside = beside(path);
        let cannot = |e: std::io::Error| ConnectError::NotWritable {
            path: path.to_owned(),
            reason: match e.kind() {
                std::io::ErrorKind::IsADirectory => e.to_string(),
                _ => format!("its lock file {}: {e}", beside.display()),
            },
        };
        if path.is_dir() {
            return Err(cannot(std::io::ErrorKind::IsADirectory.into()));
        }
        let options = File::options().read(true).write(true).create(true).truncate(false).clone();
        let mut lock = options.open(&beside).map_err(cannot)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(ConnectError::InUse { path: path.to_owned(), holder: holder(&beside) });
            }
            Err(TryLockError::Error(e)) => return Err(cannot(e)),
        }
        let written = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        if let Err(error) = written {
            // For example on a full disk. The lock still holds, but its holder cannot be named.
            tracing::warn!(%error, file = %beside.display(), "could not write the process id");
        }
        Ok(lock)
    }

    /// The file that this lock belongs to, once it exists.
    pub(super) fn locked(path: &Path, lock: Option<File>) -> Self {
        Self { lock, ..Self::shared(path) }
    }

    /// Whether the path still leads to the file that was opened. SQLite would go on writing into a deleted file,
    /// and all of that would be lost with the process.
    pub(crate) fn is_there(&self) -> bool {
        self.identity.is_none() || identity(&self.path) == self.identity
    }

    /// The path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Allows another process to serve from the file.
    pub(crate) fn unlock(&self) {
        if let Some(lock) = &self.lock {
            // The lock ends with the process at the latest.
            lock.unlock().ok();
        }
    }
}

/// The lock file: `doorstep.db.lock` for `doorstep.db`, also if the path is a link.
fn beside(path: &Path) -> PathBuf {
    let real = fs::canonicalize(path).or_else(|_| {
        // The file does not exist yet, but its folder does.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = fs::canonicalize(folder.unwrap_or(Path::new(".")))?;
        Ok::<_, std::io::Error>(folder.join(path.file_name().unwrap_or_default()))
    });
    let mut name = real.unwrap_or_else(|_| path.to_owned()).into_os_string();
    name.push(".lock");
    name.into()
}

/// The process id in a lock file.
fn holder(beside: &Path) -> Option<u32> {
    for _ in 0..LOOKS {
        let mut text = String::new();
        let read = File::open(beside).and_then(|mut file| {
            file.rewind()?;
            file.take(32).read_to_string(&mut text)
        });
        if let (Ok(_), Ok(id)) = (read, text.trim().parse()) {
            return Some(id);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

#[cfg(unix)]
fn identity(path: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// On other systems an open file cannot be deleted.
#[cfg(not(unix))]
fn identity(_: &Path) -> Option<Identity> {
    None
}
