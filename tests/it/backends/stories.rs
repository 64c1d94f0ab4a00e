//! 'Did it arrive?': the story of a notification, over HTTP and in a terminal.

use doorstep_tests::server::{Doorstep, Finished};
use serde_json::{Value, json};

use super::{BARE, Door};

const ACKS: &str = "doorstep.v1";
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNKNOWN: &str = "01890000-0000-7000-8000-000000000000";

/// The words of the steps.
fn steps(story: &Value) -> Vec<&str> {
    story["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect()
}

impl Door {
    async fn story(&self, id: &str) -> Value {
        let (status, story) = self.backend.get(&format!("/v1/notifications/{id}/story")).await;
        assert_eq!(status, 200, "{story}");
        story
    }

    /// Waits until the story has this step.
    async fn story_with(&self, id: &str, step: &str) -> Value {
        for _ in 0..600 {
            let story = self.story(id).await;
            if steps(&story).contains(&step) {
                return story;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("{id} has no step {step}");
    }

    async fn tell(&self, args: &[&str]) -> Finished {
        let args = [&["story", "--url", self.server.url()], args].concat();
        Doorstep::new(&args).env("DOORSTEP_KEY", &self.backend.key).run().await
    }
}

#[tokio::test]
async fn a_story_names_the_key_the_trace_and_each_connection() {
    let door = Door::open().await;
    let url = format!("{}/v1/notifications", door.server.url());
    let draft = json!({"user_id": "ada", "kind": "order.shipped", "payload": 1});
    let request = reqwest::Client::new().post(url).bearer_auth(&door.backend.key).json(&draft);
    let sent = request.header("traceparent", TRACE).send().await.unwrap();
    let sent: Value = sent.json().await.unwrap();
    let id = sent["notifications"][0]["id"].as_str().unwrap();
    let story = door.story(id).await;
    let expected =
        json!(["order.shipped", "waiting", "key", "shop", "4bf92f3577b34da6a3ce929d0e0e4736"]);
    let told = ["kind", "state", "sent_by", "key", "trace_id"].map(|name| story[name].clone());
    assert_eq!(json!(told), expected);
    assert_eq!(steps(&story), ["received"]);

    let mut laptop = door.user("ada").connect(ACKS).await;
    let frame = laptop.notification().await;
    let mut phone = door.user("ada").connect(ACKS).await;
    phone.notification().await;
    laptop.acknowledge(&frame).await;
    let story = door.story_with(id, "retracted").await;
    let expected = ["received", "pushed", "pushed", "acknowledged", "ended", "retracted"];
    assert_eq!(steps(&story), expected, "{story}");
    let at = |place: usize| story["steps"][place]["connection"].clone();
    // The laptop was first.
    assert!(at(1) == at(3) && at(2) == at(5) && at(1) != at(2), "{story}");
    assert_eq!((&story["state"], &story["complete"]), (&json!("delivered"), &json!(true)));
    let summary = story["summary"].as_str().unwrap();
    assert!(summary.starts_with("delivered, waited "), "{summary}");
    assert!(summary.ends_with("pushed to 2 connections, taken by 1, retracted on 1"), "{summary}");
}

#[tokio::test]
async fn clients_that_do_not_acknowledge_and_that_acknowledge_what_they_were_not_sent() {
    let door = Door::open().await;
    let mut plain = door.user("ada").connect("doorstep.plain.v1").await;
    let id = door.backend.send_to("ada", json!({})).await;
    plain.notification().await;
    let story = door.story_with(&id, "ended").await;
    assert_eq!(steps(&story), ["received", "pushed", "written", "ended"]);

    // A client cannot fill the stories with acknowledgements.
    let mut ada = door.user("bob").connect(ACKS).await;
    let id = door.backend.send_to("bob", json!({})).await;
    let frame = ada.notification().await;
    for _ in 0..3 {
        ada.acknowledge(&json!({"id": UNKNOWN})).await;
        ada.acknowledge(&frame).await;
    }
    // The server has read them all when it has read this one's successor.
    let last = door.backend.send_to("bob", json!({})).await;
    let frame = ada.notification().await;
    ada.acknowledge(&frame).await;
    door.story_with(&last, "ended").await;
    assert_eq!(steps(&door.story(&id).await), ["received", "pushed", "acknowledged", "ended"]);
    let (status, _) = door.backend.get(&format!("/v1/notifications/{UNKNOWN}/story")).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn the_stories_of_a_user_are_told_newest_first() {
    let door = Door::open().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(door.backend.send_to("ada/1", json!({})).await);
    }
    door.backend.recall(&ids[1]).await;
    let (status, told) = door.backend.get("/v1/users/ada%2F1/story?limit=2").await;
    assert_eq!((status, &told["user_id"], &told["more"]), (200, &json!("ada/1"), &json!(true)));
    let listed: Vec<_> = told["notifications"].as_array().unwrap().iter().collect();
    assert_eq!([&listed[0]["id"], &listed[1]["id"]], [&json!(ids[2]), &json!(ids[1])]);
    assert_eq!(listed[1]["summary"], "recalled, never pushed");
    assert_eq!(told["remembered_since"], Value::Null);
    let (_, nobody) = door.backend.get("/v1/users/nobody/story").await;
    assert_eq!(nobody["notifications"], json!([]));
    for wrong in ["?limit=0", "?limit=101", "?limit=x"] {
        let (status, _) = door.backend.get(&format!("/v1/users/ada/story{wrong}")).await;
        assert_eq!(status, 422, "{wrong}");
    }
}

#[tokio::test]
async fn what_is_forgotten_or_not_remembered_at_all_is_said() {
    let door = Door::with(&format!("{BARE}\n[stories]\nmax_steps = 16")).await;
    let first = door.backend.send_to("ada", json!({})).await;
    door.backend.send_to("ada", json!({})).await;
    let (status, unknown) = door.backend.get(&format!("/v1/notifications/{first}/story")).await;
    assert_eq!(status, 404);
    assert!(unknown["detail"].as_str().unwrap().contains("forgotten"), "{unknown}");
    let (_, told) = door.backend.get("/v1/users/ada/story").await;
    assert!(told["remembered_since"].is_string(), "{told}");

    let door = Door::with(&format!("{BARE}\n[stories]\nenabled = false")).await;
    let id = door.backend.send_to("ada", json!({})).await;
    for path in [format!("/v1/notifications/{id}/story"), "/v1/users/ada/story".to_owned()] {
        let (status, disabled) = door.backend.get(&path).await;
        assert_eq!(status, 404, "{path}");
        assert!(disabled["detail"].as_str().unwrap().contains("stories.enabled"), "{disabled}");
    }
}

#[tokio::test]
async fn operators_read_the_metrics_with_their_key_wherever_metrics_is_served() {
    let door = Door::with(&format!("{BARE}\n[metrics]\nlisten = \"127.0.0.1:0\"")).await;
    door.backend.send_to("ada", json!({})).await;
    let url = format!("{}/v1/metrics", door.server.url());
    assert_eq!(reqwest::get(&url).await.unwrap().status(), 401);
    let request = reqwest::Client::new().get(&url).bearer_auth(&door.backend.key);
    let text = request.send().await.unwrap().text().await.unwrap();
    assert!(text.contains("\ndoorstep_notifications_accepted_total 1\n"), "{text}");
    let open = reqwest::get(format!("{}/metrics", door.server.url())).await.unwrap();
    assert_eq!(open.status(), 404, "it has an address of its own");
}

#[tokio::test]
async fn the_terminal_tells_the_same_story_and_says_what_to_do_without_one() {
    let door = Door::open().await;
    let id = door.backend.send_to("ada 1", json!({})).await;
    door.backend.recall(&id).await;
    let told = door.tell(&[&id]).await;
    assert_eq!(told.code, Some(0), "{told:?}");
    let said = told.stdout.as_str();
    for part in [
        &format!("{id}  order.shipped\n  for ada 1\n  recalled, never pushed\n"),
        "  received from key shop, policy deferred\n",
        "  recalled: its sender took it back",
    ] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    let json = door.tell(&[&id, "--json"]).await;
    let printed: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(printed, door.story(&id).await);
    let of_user = door.tell(&["--user", "ada 1"]).await;
    assert_eq!(of_user.stdout, told.stdout);
    let nobody = door.tell(&["--user", "nobody"]).await;
    assert!(nobody.stdout.contains("nothing is remembered"), "{nobody:?}");

    let refused = |finished: &Finished, code: i32, part: &str| {
        assert_eq!(finished.code, Some(code), "{finished:?}");
        assert!(finished.stderr.contains(part), "{finished:?}");
        assert_eq!(finished.stdout, "");
    };
    refused(&door.tell(&[UNKNOWN]).await, 1, "look for its user's notifications (--user USER)");
    refused(&door.tell(&["nonsense"]).await, 1, "--user USER");
    refused(&door.tell(&[]).await, 2, "--user <USER>");
    refused(&door.tell(&[&id, "--key", "dsk_wrong"]).await, 1, "does not accept this service key");
    let without = Doorstep::new(&["story", &id, "--url", door.server.url()]).run().await;
    refused(&without, 2, "DOORSTEP_KEY");
    let gone = ["story", &id, "--key", "dsk_x", "--url", "http://127.0.0.1:1"];
    refused(&Doorstep::new(&gone).run().await, 1, "nobody listens there");
    let no_url = ["story", &id, "--key", "dsk_x", "--url", "nonsense"];
    refused(&Doorstep::new(&no_url).run().await, 1, "is not a URL");
}
