//! A database file that can be read but not written.

use std::path::{Path, PathBuf};
use std::process::Command;

use doorstep_tests::server::{Doorstep, SqliteFile};
use nix::unistd::Uid;

/// Makes a file read-only while this lives. Root ignores a file's mode, so for root it is mounted read-only.
struct ReadOnly(PathBuf);

impl ReadOnly {
    fn new(file: &Path) -> Option<Self> {
        let run = |program: &str, args: &[&str]| {
            Command::new(program).args(args).arg(file).status().is_ok_and(|status| status.success())
        };
        if !Uid::effective().is_root() {
            return run("chmod", &["0444"]).then(|| Self(file.to_owned()));
        }
        let path = file.to_str()?;
        let mounted = run("mount", &["--bind", path]);
        let read_only = mounted.then(|| Self(file.to_owned()))?;
        run("mount", &["-o", "remount,bind,ro"]).then_some(read_only)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        if Uid::effective().is_root() {
            Command::new("umount").arg("-l").arg(&self.0).status().ok();
        }
    }
}

#[tokio::test]
async fn a_read_only_file_is_named_once_with_what_to_do() {
    let file = SqliteFile::new();
    let path = PathBuf::from(file.url().trim_start_matches("sqlite://"));
    let server = Doorstep::serve(&file.url()).start().await;
    server.terminate();
    server.wait().await;
    let Some(_read_only) = ReadOnly::new(&path) else {
        eprintln!("not allowed to mount, and root: not tried");
        return;
    };
    let finished = Doorstep::serve(&file.url()).run().await;
    let said = finished.stderr.lines().find(|line| line.starts_with("doorstep:")).unwrap();
    assert_eq!(
        said,
        format!(
            "doorstep: the database file {} cannot be opened for writing (attempt to write a readonly \
             database): check that its folder exists and that you may write there",
            path.display()
        )
    );
    assert_eq!(finished.code, Some(1));
    // Read-only commands work.
    let audit = Doorstep::new(&["audit", "--database", &file.url()]).run().await;
    assert_eq!(audit.code, Some(0), "{}", audit.stderr);
}
