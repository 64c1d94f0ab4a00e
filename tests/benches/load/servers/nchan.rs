use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use super::{Contestant, Guard, Protocol, Running};
use crate::process::Processes;

/// Where Debian's package puts the module.
const MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

pub(super) async fn start() -> Running {
    assert!(
        Path::new(MODULE).exists(),
        "no Nchan: on Debian, `apt-get install nginx-light libnginx-mod-nchan`"
    );
    let dir = tempfile::tempdir().expect("a temporary folder");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    std::fs::write(dir.path().join("nginx.conf"), configuration(&address.to_string()))
        .expect("a file in a temporary folder");
    let child = Command::new("/usr/sbin/nginx")
        .args(["-p", &dir.path().display().to_string(), "-c", "nginx.conf"])
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .expect("nginx starts");
    while TcpStream::connect(address).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Running {
        contestant: Contestant::Nchan,
        address,
        processes: Processes::of(child.id().expect("it runs")),
        tls: None,
        protocol: Protocol::Nchan,
        process: Guard::Other(child, dir),
    }
}

/// Messages wait for 60 s, as in Doorstep, and a subscriber gets all that wait. One worker, because with two of them
/// Nchan needs more time: a message then often has to go from one to the other.
fn configuration(address: &str) -> String {
    format!(
        "load_module {MODULE};
daemon off; master_process off; pid nginx.pid; error_log stderr crit;
worker_processes 1; worker_rlimit_nofile {descriptors};
events {{ worker_connections {descriptors}; multi_accept on; }}
http {{
    access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi; keepalive_requests 100000000;
    nchan_shared_memory_size 4096M;
    server {{
        listen {address} backlog=4096;
        location = /publish {{
            nchan_publisher; nchan_channel_id $arg_id; nchan_message_timeout 60s; nchan_message_buffer_length 100;
        }}
        location = /subscribe {{
            nchan_subscriber websocket; nchan_channel_id $arg_id; nchan_subscriber_first_message oldest;
            nchan_websocket_ping_interval 25;
        }}
    }}
}}
",
        descriptors = crate::process::descriptors(),
    )
}
