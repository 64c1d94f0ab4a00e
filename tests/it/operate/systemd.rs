//! The messages to systemd, with a socket in the place of systemd's; and the unit file.

use std::path::Path;

use doorstep_tests::server::{Doorstep, Server, SqliteFile};
use tempfile::TempDir;
use tokio::net::UnixDatagram;

/// A node under a systemd that only listens.
struct Service {
    server: Server,
    socket: UnixDatagram,
    _database: SqliteFile,
    _folder: TempDir,
}

impl Service {
    async fn start(environment: &[(&str, &str)]) -> Self {
        let (database, folder) = (SqliteFile::new(), tempfile::tempdir().unwrap());
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let call = Doorstep::serve(&database.url()).env("NOTIFY_SOCKET", path.to_str().unwrap());
        let call = environment.iter().fold(call, |call, (name, value)| call.env(name, value));
        Self { server: call.start().await, socket, _database: database, _folder: folder }
    }
}

/// The next message that contains this line.
async fn told(socket: &UnixDatagram, line: &str) -> String {
    let mut buffer = [0; 4096];
    let received = async {
        loop {
            let length = socket.recv(&mut buffer).await.unwrap();
            let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
            if message.lines().any(|said| said == line) {
                return message;
            }
        }
    };
    let patience = std::time::Duration::from_mins(1);
    let message = tokio::time::timeout(patience, received).await;
    message.unwrap_or_else(|_| panic!("{line:?} was not sent"))
}

#[tokio::test]
async fn systemd_is_told_of_the_start_the_watchdog_and_the_stop() {
    let environment = [("WATCHDOG_USEC", "20000"), ("DOORSTEP_SERVER__STOP_WITHIN", "7s")];
    let Service { server, socket, _database, _folder } = Service::start(&environment).await;
    let ready = told(&socket, "READY=1").await;
    assert!(ready.contains(&format!("STATUS=serving at {}", server.url())), "{ready}");
    for _ in 0..3 {
        told(&socket, "WATCHDOG=1").await;
    }
    server.terminate();
    let stopping = told(&socket, "STOPPING=1").await;
    assert!(stopping.contains("EXTEND_TIMEOUT_USEC=12000000"), "{stopping}");
    assert_eq!(server.wait().await.code, Some(0));
}

#[tokio::test]
async fn the_watchdog_of_another_process_is_not_fed() {
    let environment = [("WATCHDOG_USEC", "2000"), ("WATCHDOG_PID", "1")];
    let Service { server, socket, _database, _folder } = Service::start(&environment).await;
    told(&socket, "READY=1").await;
    server.terminate();
    assert_eq!(server.wait().await.code, Some(0));
    let mut buffer = [0; 4096];
    while let Ok(length) = socket.try_recv(&mut buffer) {
        assert!(!buffer[..length].starts_with(b"WATCHDOG"));
    }
}

#[test]
fn the_unit_file_is_one_that_this_systemd_accepts() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../app/deploy/doorstep.service");
    let unit = std::fs::read_to_string(file).unwrap();
    for line in ["Type=notify", "RestartPreventExitStatus=2", "ExecReload=/bin/kill -HUP $MAINPID"]
    {
        assert!(unit.lines().any(|found| found == line), "{line}");
    }
    // The binary is not installed where the unit looks for it.
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("doorstep.service");
    std::fs::write(&copy, unit.replace("/usr/local/bin/doorstep ", "/bin/sh ")).unwrap();
    let mut verify = std::process::Command::new("systemd-analyze");
    // A machine without systemd has nothing that could read the file.
    let Ok(verified) = verify.args(["verify", "--man=no"]).arg(&copy).output() else { return };
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && said.is_empty(), "{said}");
}
