//! A stop with many connections.

use futures_util::{StreamExt as _, stream};
use tokio_tungstenite::tungstenite::Message;

use super::{door, open_all, until_connected};

const CONNECTIONS: usize = 400;

#[tokio::test]
async fn a_stop_closes_them_all_with_1012() {
    let door = door().await;
    let sockets = open_all(door.server.address(), CONNECTIONS).await;
    until_connected(&door, CONNECTIONS).await;
    door.server.terminate();
    let codes: Vec<u16> = stream::iter(sockets)
        .map(async |mut socket| {
            loop {
                match socket.next().await {
                    Some(Ok(Message::Close(Some(frame)))) => {
                        let _ = socket.next().await;
                        break u16::from(frame.code);
                    }
                    Some(Ok(_)) => {}
                    other => panic!("no close frame but {other:?}"),
                }
            }
        })
        .buffer_unordered(CONNECTIONS)
        .collect()
        .await;
    assert_eq!(codes, [1012; CONNECTIONS]);
    assert_eq!(door.server.wait().await.code, Some(0));
}
