//! What the guides build passes the suites: the code that users copy.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use doorstep_application::delivery::Delivery;
use doorstep_contract::{DoorUnderTest, Reopens, presence_and_pusher};
use doorstep_domain::ports::{Clock, Presence, Pusher};
use doorstep_domain::{NotificationId, SystemClock, UserId};
// What the store writes into its file.
use serde_json as _;
use tokio::net::TcpListener;

#[path = "../../../application/examples/handover_to_file.rs"]
mod handover_to_file;
#[path = "../examples/tcp_lines.rs"]
mod tcp_lines;

use handover_to_file::HandoverFile;
use tcp_lines::{Client, Names, Registry, Server};

/// A file that the store is opened on, again and again.
struct File(PathBuf);

impl File {
    fn new() -> Self {
        let name = format!("doorstep-handover-{}", NotificationId::now_v7());
        Self(std::env::temp_dir().join(name).with_extension("jsonl"))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

#[async_trait]
impl Reopens for File {
    type Store = HandoverFile;

    async fn reopen(&mut self) -> Arc<HandoverFile> {
        Arc::new(HandoverFile::open(&self.0).expect("a file that can be read"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_in_a_file_keeps_every_promise() {
    doorstep_contract::handover(File::new().reopen().await).await;
    doorstep_contract::durable_handover(&mut File::new()).await;
}

#[test]
fn the_program_with_the_store_in_a_file_runs() -> Result<(), Box<dyn std::error::Error>> {
    handover_to_file::main()
}

/// The server of lines, on a port of this machine.
struct Door {
    address: SocketAddr,
    registry: Arc<Registry>,
    delivery: Arc<Delivery>,
    clock: Arc<SystemClock>,
}

impl Door {
    async fn open() -> Arc<Self> {
        let (registry, clock) = (Arc::new(Registry::default()), Arc::new(SystemClock::start()));
        let delivery = Delivery::builder(registry.clone(), registry.clone(), clock.clone());
        let delivery = Arc::new(delivery.start().expect("a runtime"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("a port");
        let server = Server {
            registry: registry.clone(),
            delivery: delivery.clone(),
            who: Arc::new(Names),
            clock: clock.clone(),
        };
        tokio::spawn(Arc::new(server).serve(listener));
        Arc::new(Self { address, registry, delivery, clock })
    }
}

#[async_trait]
impl DoorUnderTest for Door {
    type Client = Client;

    fn presence(&self) -> Arc<dyn Presence> {
        self.registry.clone()
    }

    fn pusher(&self) -> Arc<dyn Pusher> {
        self.registry.clone()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    fn delivery(&self) -> Arc<Delivery> {
        self.delivery.clone()
    }

    async fn open(&self, user: &UserId) -> Client {
        Client::connect(self.address, &user.to_string()).await.expect("it is let in")
    }

    async fn shown(&self, client: &mut Client) -> NotificationId {
        client.next().await.expect("it is open").0
    }

    async fn acknowledge(&self, client: &mut Client, id: NotificationId) {
        client.acknowledge(id).await.expect("it is open");
    }

    async fn close(&self, client: Client) {
        client.close().await;
    }

    /// The server's queue, and what the sockets of both sides take.
    fn fills_after(&self) -> Option<usize> {
        Some(4_000)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_transport_of_lines_keeps_every_promise() {
    presence_and_pusher(Door::open().await).await;
}

#[test]
fn the_program_with_lines_runs() -> Result<(), Box<dyn std::error::Error>> {
    tcp_lines::main()
}
