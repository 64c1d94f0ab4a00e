//! What still counts after a connection has departed.

use std::time::Duration;

use doorstep_domain::Outcome;
use doorstep_domain::ports::ConnectionControl as _;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

use super::{Node, ada, id_in, text};
use crate::connections::DisconnectReason;
use crate::websocket::conversation::Mode;

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_that_meets_the_close_of_a_stop_counts() {
    let node = Node::new();
    let (mut client, task) = node.connect(&ada(), Mode::Acknowledging, 1024).await;
    let receipt = node.send(1).await;
    assert_eq!(id_in(&text(&mut client).await), 1);
    node.connections.close_all();
    // The close frame is under way, and the client has not read it.
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(node.delivery.held().waiting, 1, "it departed without an acknowledgement");
    let ack = format!(r#"{{"type":"ack","id":"{}"}}"#, Uuid::from_u128(1));
    client.send(Message::text(ack)).await.unwrap();
    assert_eq!(receipt.outcome().await, Some(Outcome::Delivered));
    drop(client);
    assert_eq!(task.await.unwrap(), DisconnectReason::Restart);
}

#[tokio::test(start_paused = true)]
async fn a_frame_whose_rest_is_written_after_a_close_counts_and_one_that_is_cut_does_not() {
    let node = Node::new();
    for (number, reads) in [(1, true), (2, false)] {
        // Room for a part of the frame.
        let (mut client, task) = node.connect(&ada(), Mode::Plain, 64).await;
        let receipt = node.send(number).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        node.connections.disconnect(&ada().user_id);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(node.delivery.held().waiting, 1, "it departed before all was written");
        if reads {
            assert_eq!(id_in(&text(&mut client).await), number);
            assert!(client.next().await.unwrap().unwrap().is_close());
            assert_eq!(receipt.outcome().await, Some(Outcome::Delivered));
            drop(client);
        }
        assert_eq!(task.await.unwrap(), DisconnectReason::Disconnected);
    }
    assert_eq!(node.delivery.held().waiting, 1, "what the second one had a part of");
}
