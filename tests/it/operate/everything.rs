//! A node with every part that has metrics, after some traffic.

use doorstep_tests::client::User;
use doorstep_tests::nats::NatsServer;
use doorstep_tests::server::{Doorstep, SqliteFile};
use doorstep_tests::tls::{TlsClient, fixture, section};
use tokio::net::TcpListener;
use tokio::sync::OnceCell;

use crate::backends::{BARE, Door};
use crate::node::eventually;
use crate::outbox::Shop;

/// What such a node prints at `/metrics`: the simulation, an outbox, TLS, and a webhook whose receiver never answers. Then
/// what only a node of a cluster prints, which has no simulation.
pub(crate) async fn scrape_of_everything() -> &'static str {
    static TEXT: OnceCell<String> = OnceCell::const_new();
    TEXT.get_or_init(scrape).await
}

async fn scrape() -> String {
    let receiver = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let webhook = format!(
        "[webhook]\nurl = \"http://{}/\"\nsecret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n",
        receiver.local_addr().unwrap()
    );
    let (database, shop) = (SqliteFile::new(), Shop::open().await);
    let (cert, key) = (fixture("server.pem"), fixture("server.key"));
    let tls = section(cert.to_str().unwrap(), key.to_str().unwrap());
    let kept = "[inbox]\nkeep_read = \"30days\"\n";
    let file = format!("{webhook}{kept}{}{tls}", shop.section());
    let server = Doorstep::serve(&database.url()).file("doorstep.toml", &file).start().await;
    // How notifications ended is printed once one has ended.
    let url = TlsClient::new().plain_url(server.address()).await;
    let ada = User::register(&url, "ada").await;
    let mut socket = ada.connect("doorstep.plain.v1").await;
    socket.kinds(1).await;
    let url = format!("{url}/metrics");
    let mut text = String::new();
    eventually("a notification has ended", async || {
        text = reqwest::get(&url).await.unwrap().text().await.unwrap();
        text.contains("doorstep_notifications_ended_total{")
            && text.contains("doorstep_outbox_rows_waiting")
    })
    .await;
    text.push_str(&cluster().await);
    text
}

async fn cluster() -> String {
    let nats = NatsServer::start();
    let door = Door::with(&format!("{BARE}\n[cluster]\nnats = \"{}\"\n", nats.url())).await;
    let url = format!("{}/metrics", door.server.url());
    let mut text = String::new();
    eventually("the node has read the log", async || {
        text = reqwest::get(&url).await.unwrap().text().await.unwrap();
        text.contains("doorstep_cluster_up_to_date 1")
    })
    .await;
    text.lines()
        .filter(|line| line.contains("doorstep_cluster_"))
        .fold(String::new(), |text, line| text + line + "\n")
}
