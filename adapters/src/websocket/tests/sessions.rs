//! Connections whose session expires or is signed out.

use async_trait::async_trait;
use doorstep_application::sign_ins::{SessionEnd, SignInParts, SignIns};
use doorstep_domain::Session;
use doorstep_domain::ports::{MockAccounts, MockPasswordHasher, MockTokens, Sessions, StoreError};

use super::*;
use crate::websocket::WebSocketParts;
use crate::websocket::upgrade::live;

#[tokio::test(start_paused = true)]
async fn a_session_that_expires_ends_its_connection() {
    let node = Node::new();
    let expires_at = Timestamp::from_micros(0) + Duration::from_mins(150);
    let (mut client, task) = node.connect(&Caller { expires_at, ..ada() }, Mode::Plain, 1024).await;
    let code = loop {
        if let Message::Close(frame) = client.next().await.unwrap().unwrap() {
            break u16::from(frame.unwrap().code);
        }
    };
    assert_eq!((code, node.clock.now()), (4401, expires_at));
    drop(client);
    assert_eq!(task.await.unwrap(), DisconnectReason::SessionEnded);
}

#[tokio::test(start_paused = true)]
async fn only_the_ended_sessions_connections_close() {
    let node = Node::new();
    let other = Caller { session: TokenHash::new([2; 32]), ..ada() };
    let (first, first_task) = node.connect(&ada(), Mode::Plain, 1024).await;
    let (_second, second_task) = node.connect(&other, Mode::Plain, 1024).await;
    let before = node.connections.session_ends();
    node.connections.ended(&ada().user_id, &ada().session);
    assert_ne!(node.connections.session_ends(), before);
    assert_eq!(first_task.await.unwrap(), DisconnectReason::SessionEnded);
    drop(first);
    assert!(!second_task.is_finished() && node.connections.is_online(&ada().user_id).await);
}

/// A store with at most one session, which it takes a moment to find. By then the waiting notification has been
/// handed over.
struct OneSession(Arc<Connections>, Option<Session>);

#[async_trait]
impl Sessions for OneSession {
    async fn find(&self, _: &TokenHash, _: Timestamp) -> Result<Option<Session>, StoreError> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let queued = self.0.traffic(Transport::WebSocket).frames_queued;
        assert_eq!(queued, 1, "asked before the arrival was announced");
        Ok(self.1.clone())
    }

    async fn open(&self, _: &Session) -> Result<(), StoreError> {
        Ok(())
    }

    async fn close(&self, _: &TokenHash) -> Result<(), StoreError> {
        Ok(())
    }

    async fn purge(&self, _: Timestamp) -> Result<u64, StoreError> {
        Ok(0)
    }
}

pub(super) fn sign_ins(node: &Node, session: Option<Session>) -> SignIns {
    let sessions = OneSession(node.connections.clone(), session);
    SignIns::new(SignInParts {
        accounts: Arc::new(MockAccounts::new()),
        sessions: Arc::new(sessions),
        passwords: Arc::new(MockPasswordHasher::new()),
        tokens: Arc::new(MockTokens::new()),
        clock: Arc::clone(&node.clock),
        session_end: Arc::clone(&node.connections) as Arc<dyn SessionEnd>,
        session_ttl: Duration::from_hours(1),
    })
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_between_the_check_of_its_token_and_the_registration_is_noticed() {
    let alive =
        Session { token: ada().session, user_id: ada().user_id, expires_at: Timestamp::MAX };
    for (session, stays) in [(None, false), (Some(alive), true)] {
        let node = Node::new();
        let before_the_check = node.connections.session_ends();
        // There is no connection to close yet.
        node.connections.ended(&ada().user_id, &ada().session);
        let _receipt = node.send(1).await;
        let (ours, theirs) = tokio::io::duplex(1024);
        let parts = WebSocketParts {
            connections: node.connections.clone(),
            settings: node.settings.clone(),
            delivery: node.delivery.clone(),
            authenticator: sign_ins(&node, session).into(),
            clock: node.clock.clone(),
        };
        let unknown = crate::http::ClientAddress::UNKNOWN;
        tokio::spawn(live(parts, ours, Pace::new(), ada(), before_the_check, unknown, Mode::Plain));
        let mut client = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
        match client.next().await.unwrap().unwrap() {
            Message::Text(_) => assert!(stays),
            Message::Close(frame) => {
                assert_eq!((u16::from(frame.unwrap().code), stays), (4401, false));
                assert_eq!(
                    node.delivery.held().waiting,
                    1,
                    "nothing was shown to the dead session"
                );
            }
            other => panic!("{other:?}"),
        }
    }
}
