use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use super::{Contestant, Guard, Protocol, Running};
use crate::process::Processes;

pub(super) async fn start() -> Running {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let script = dir.path().join("server.mjs");
    std::fs::write(&script, include_str!("socket_io.mjs")).expect("a file in a temporary folder");
    let mut child = Command::new("node")
        .arg(&script)
        .arg(packages().await.join("here.cjs"))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("node starts: install Node 20 or later");
    let stdout = child.stdout.take().expect("it is piped");
    let line = BufReader::new(stdout).lines().next_line().await;
    let line = line.expect("it is read").expect("it serves");
    let port = line.trim_start_matches("listening on ");
    Running {
        contestant: Contestant::SocketIo,
        address: format!("127.0.0.1:{port}").parse().expect("an address"),
        processes: Processes::of(child.id().expect("it runs")),
        tls: None,
        protocol: Protocol::SocketIo,
        process: Guard::Other(child, dir),
    }
}

/// The folder of Socket.IO, which is installed once, into the target folder.
async fn packages() -> PathBuf {
    // TARGET/PROFILE/deps/load-0123456789abcdef
    let here = std::env::current_exe().expect("a running bench has a path");
    let folder = here.ancestors().nth(3).unwrap_or(Path::new(".")).join("npm-load");
    if !folder.join("node_modules/socket.io/package.json").exists() {
        eprintln!("installing Socket.IO into {}", folder.display());
        std::fs::create_dir_all(&folder).expect("a folder in the target folder");
        let installed = Command::new("npm")
            .args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"])
            .args([folder.as_os_str(), "socket.io@4".as_ref(), "bufferutil@4".as_ref()])
            .status()
            .await;
        assert!(installed.is_ok_and(|status| status.success()), "npm cannot install Socket.IO");
    }
    folder
}
