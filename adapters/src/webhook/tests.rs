use std::collections::BTreeSet;

use doorstep_domain::ports::MockClock;
use doorstep_domain::{NotificationId, Outcome, Timestamp};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// What the receiver does with a request.
#[derive(Debug, Clone, Copy)]
enum Does {
    Answers(u16),
    /// Responds with `Retry-After`.
    Postpones(u16, &'static str),
    Hangs,
    HangsUp,
}

/// A received request.
struct Received {
    head: String,
    body: String,
}

impl Received {
    fn header(&self, name: &str) -> &str {
        let line = self.head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_else(|| panic!("no {name} in {}", self.head))
    }

    fn ids(&self) -> Vec<String> {
        let body: Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(body["type"], "notifications.ended");
        let ended = body["data"]["notifications"].as_array().unwrap();
        ended.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    }
}

/// A receiver that does these things in turn, and then responds with 204; the test can look at every request.
async fn receiver(does: Vec<Does>) -> (String, mpsc::UnboundedReceiver<Received>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (sender, received) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut does = does.into_iter();
        let mut hanging = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let Some(request) = read(&mut stream).await else { continue };
            match does.next().unwrap_or(Does::Answers(204)) {
                Does::Answers(status) => {
                    let answer = format!(
                        "HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                    );
                    stream.write_all(answer.as_bytes()).await.ok();
                }
                Does::Postpones(status, when) => {
                    let answer = format!(
                        "HTTP/1.1 {status} x\r\nretry-after: {when}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                    );
                    stream.write_all(answer.as_bytes()).await.ok();
                }
                Does::Hangs => hanging.push(stream),
                Does::HangsUp => drop(stream),
            }
            sender.send(request).ok();
        }
    });
    (url, received)
}

async fn read(stream: &mut TcpStream) -> Option<Received> {
    let mut text = Vec::new();
    loop {
        let mut some = [0; 4096];
        let n = stream.read(&mut some).await.ok().filter(|n| *n > 0)?;
        text.extend_from_slice(&some[..n]);
        let so_far = String::from_utf8_lossy(&text).into_owned();
        let Some((head, body)) = so_far.split_once("\r\n\r\n") else { continue };
        let received = Received { head: head.to_lowercase(), body: body.to_owned() };
        if received.body.len() >= received.header("content-length").parse().unwrap() {
            return Some(Received { head: head.to_owned(), ..received });
        }
    }
}

fn start(url: &str) -> Webhook {
    start_with(WebhookSettings {
        linger: Duration::from_millis(1),
        timeout: Duration::from_secs(2),
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(2),
        ..WebhookSettings::new(url.to_owned(), SECRET.parse().unwrap())
    })
}

fn start_with(settings: WebhookSettings) -> Webhook {
    let mut clock = MockClock::new();
    clock.expect_now().return_const(Timestamp::from_micros(1_614_265_330_000_000));
    Webhook::start(settings, Arc::new(clock), None).unwrap()
}

fn ended(n: u128) -> Ended {
    Ended {
        id: NotificationId::new(Uuid::from_u128(n)),
        user_id: "ada".parse().unwrap(),
        kind: "news".parse().unwrap(),
        outcome: Outcome::Delivered,
        at: Timestamp::from_micros(1),
        waited: Duration::from_millis(3),
        trace: None,
    }
}

fn id(n: u128) -> String {
    ended(n).id.to_string()
}

#[tokio::test]
async fn a_message_is_signed_over_its_id_its_time_and_its_body() {
    let (url, mut received) = receiver(vec![]).await;
    let webhook = start(&url);
    webhook.ended(vec![ended(1), ended(2)]).await;
    let message = received.recv().await.unwrap();
    assert_eq!(message.ids(), [id(1), id(2)]);
    let (name, time) = (message.header("webhook-id"), message.header("webhook-timestamp"));
    assert_eq!(time, "1614265330");
    let secret: Secret = SECRET.parse().unwrap();
    let expected = secret.sign(name, 1_614_265_330, message.body.as_bytes());
    assert_eq!(message.header("webhook-signature"), expected);
    let body: Value = serde_json::from_str(&message.body).unwrap();
    let one = &body["data"]["notifications"][0];
    assert_eq!((&one["outcome"], &one["user_id"]), (&"delivered".into(), &"ada".into()));
    assert_eq!(one["waited_ms"], 3);
}

#[tokio::test]
async fn a_receiver_that_hangs_fails_or_hangs_up_gets_the_batch_again_with_the_same_id() {
    let does = vec![Does::Answers(500), Does::Hangs, Does::HangsUp, Does::Answers(302)];
    let times = does.len();
    let (url, mut received) = receiver(does).await;
    let webhook = start(&url);
    webhook.ended(vec![ended(1)]).await;
    let mut names = BTreeSet::new();
    for _ in 0..=times {
        let message = received.recv().await.unwrap();
        assert_eq!(message.ids(), [id(1)]);
        names.insert(message.header("webhook-id").to_owned());
    }
    assert_eq!(names.len(), 1);
    webhook.ended(vec![ended(2)]).await;
    assert_eq!(received.recv().await.unwrap().ids(), [id(2)], "and then it goes on");
    assert_eq!(webhook.lost(), 0);
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_given_up_and_the_next_batch_is_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let webhook = start(&url);
    webhook.ended(vec![ended(1)]).await;
    while webhook.lost() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(webhook.lost(), 1);
}

#[tokio::test]
async fn delivery_never_waits_and_memory_is_bounded() {
    let (url, mut received) = receiver(vec![Does::Hangs]).await;
    let webhook = start_with(WebhookSettings {
        queue: 10,
        batch: 5,
        linger: Duration::ZERO,
        timeout: Duration::from_hours(1),
        ..WebhookSettings::new(url, SECRET.parse().unwrap())
    });
    webhook.ended(vec![ended(0)]).await;
    assert_eq!(received.recv().await.unwrap().ids(), [id(0)]);
    // The receiver has the request and does not answer. New outcomes are still queued without a wait.
    for n in 1..=100 {
        let put = futures_util::FutureExt::now_or_never(webhook.ended(vec![ended(n)]));
        assert!(put.is_some());
    }
    assert_eq!((webhook.queue.len(), webhook.lost()), (10, 90), "the newest ten are left");
}

#[tokio::test]
async fn a_stop_sends_the_rest_and_waits_no_longer_than_it_may() {
    let (url, mut received) = receiver(vec![]).await;
    let webhook = start_with(WebhookSettings {
        linger: Duration::from_hours(1),
        ..WebhookSettings::new(url, SECRET.parse().unwrap())
    });
    webhook.ended((0..1200).map(ended).collect()).await;
    webhook.stop(Duration::from_mins(1)).await;
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < 1200 {
        sizes.push(received.recv().await.unwrap().ids().len());
    }
    assert_eq!((sizes, webhook.lost()), (vec![500, 500, 200], 0));

    let (url, _received) = receiver(vec![Does::Hangs]).await;
    let webhook = start_with(WebhookSettings::new(url, SECRET.parse().unwrap()));
    webhook.ended(vec![ended(1)]).await;
    webhook.stop(Duration::from_millis(1)).await;
}

#[test]
fn only_urls_that_can_be_posted_to_are_accepted() {
    for url in ["", "hook", "ftp://example.com", "https://", "http://u:s3cret@example.com"] {
        let settings = WebhookSettings::new(url.to_owned(), SECRET.parse().unwrap());
        let refused =
            Webhook::start(settings, Arc::new(MockClock::new()), None).map(drop).unwrap_err();
        assert!(matches!(refused, WebhookError::Url), "{url:?}");
        assert!(!format!("{refused} {refused:?}").contains("s3cret"));
    }
}

#[test]
fn the_pauses_double_up_to_the_longest_and_are_a_quarter_of_an_hour_in_all() {
    let settings = WebhookSettings::new("http://example.com".to_owned(), SECRET.parse().unwrap());
    let pauses = |dice| -> Vec<f64> {
        (1..settings.attempts).map(|n| settings.pause(n, dice, None).as_secs_f64()).collect()
    };
    let full = pauses(1.0);
    assert_eq!(full[..5], [1.0, 2.0, 4.0, 8.0, 16.0]);
    assert_eq!(full[9..], [300.0, 300.0]);
    assert_eq!(pauses(0.0), full.iter().map(|p| p / 2.0).collect::<Vec<_>>());
    let minutes = pauses(0.5).iter().sum::<f64>() / 60.0;
    assert!((10.0..20.0).contains(&minutes), "{minutes}");
    assert_eq!(settings.pause(u32::MAX, 1.0, None), settings.longest_pause);
    // The receiver's request counts, but cannot silence the webhook.
    let secs = Duration::from_secs;
    assert_eq!(settings.pause(1, 1.0, Some(secs(90))), secs(90));
    assert_eq!(settings.pause(9, 1.0, Some(secs(90))), secs(256), "no sooner than without it");
    assert_eq!(settings.pause(1, 1.0, Some(Duration::MAX)), settings.longest_pause);
}

#[tokio::test]
async fn a_receiver_that_answers_410_is_not_asked_again() {
    let (url, mut received) = receiver(vec![Does::Answers(410)]).await;
    let webhook = start(&url);
    webhook.ended(vec![ended(1)]).await;
    assert_eq!(received.recv().await.unwrap().ids(), [id(1)]);
    webhook.ended(vec![ended(2)]).await;
    assert_eq!(received.recv().await.unwrap().ids(), [id(2)], "the next ones get their chance");
    assert_eq!(webhook.lost(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_sends_retry_after_is_left_alone_until_then() {
    // One minute after the test's time of day.
    let date = "Thu, 25 Feb 2021 15:03:10 GMT";
    let does = vec![Does::Postpones(429, "50"), Does::Postpones(503, date)];
    let (url, mut received) = receiver(does).await;
    let webhook = start_with(WebhookSettings {
        linger: Duration::ZERO,
        timeout: Duration::from_hours(24),
        first_pause: Duration::from_millis(1),
        ..WebhookSettings::new(url, SECRET.parse().unwrap())
    });
    let begun = tokio::time::Instant::now();
    webhook.ended(vec![ended(1)]).await;
    for at_least in [0, 50, 110] {
        assert_eq!(received.recv().await.unwrap().ids(), [id(1)]);
        assert!(begun.elapsed() >= Duration::from_secs(at_least), "{:?}", begun.elapsed());
    }
    assert!(begun.elapsed() < Duration::from_mins(2), "{:?}", begun.elapsed());
}
