//! New kinds of notifications and their rules: a quote of which only the newest counts, a task list that is bounded, a
//! sign of life that is for those who are here, and an alarm whose urgency is decided for each one.
//!
//! `cargo run -p doorstep-application --example own_kinds`

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use doorstep_application::delivery::{
    Delivery, Overflow, Policy, Receipt, Refused, Rule, Rules, Strategy,
};
use doorstep_domain::ports::{Attempt, Clock, Presence, PushError, Pushed, Pusher};
use doorstep_domain::{
    KindError, Notification, NotificationId, Outcome, Payload, SystemClock, Timestamp, Ttl, UserId,
};

/// A screen that is on or off. It shows what is pushed, one line each.
#[derive(Default)]
struct Screen {
    on: AtomicBool,
    shows: Mutex<Vec<String>>,
}

#[async_trait]
impl Presence for Screen {
    async fn is_online(&self, _: &UserId) -> bool {
        self.on.load(SeqCst)
    }
}

#[async_trait]
impl Pusher for Screen {
    async fn push(&self, n: &Notification, _: Attempt, _: Timestamp) -> Result<Pushed, PushError> {
        if !self.on.load(SeqCst) {
            return Ok(Pushed::Nobody);
        }
        let line = format!("{} {}", n.kind, n.payload.as_str());
        self.shows.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        Ok(Pushed::Written)
    }
}

/// A kind needs no code in delivery: its name and a rule are enough. Kinds without a rule get the default.
fn rules() -> Result<Rules, KindError> {
    let quote = Rule { ttl: Ttl::from_secs(30), ..Rule::default() };
    // Everything that waits for the user counts: here, two tasks and a quote.
    let task = Rule { max_per_user: 3, overflow: Overflow::Reject, ..Rule::default() };
    let here = Rule { policy: Policy::Immediate, ..Rule::default() };
    let kinds = [("quote".parse()?, quote), ("task".parse()?, task), ("here".parse()?, here)];
    Ok(Rules { kinds: kinds.into(), ..Rules::default() })
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let (screen, clock) = (Arc::new(Screen::default()), Arc::new(SystemClock::start()));
    let delivery = Delivery::builder(screen.clone(), screen.clone(), clock.clone());
    let delivery = delivery.rules(rules()?).start()?;
    let ada: UserId = "ada".parse()?;
    let of_kind = |kind: &str, text: &str| -> Result<Notification, Box<dyn Error>> {
        let (id, payload) = (NotificationId::now_v7(), Payload::new(text)?);
        Ok(Notification::new(id, ada.clone(), kind.parse()?, payload, clock.wall()))
    };

    let old = delivery.send(of_kind("quote", "1.10")?.with_topic("EURUSD".parse()?)).await?;
    let new = delivery.send(of_kind("quote", "1.11")?.with_topic("EURUSD".parse()?)).await?;
    says("the older quote", old, Outcome::Replaced).await;

    let tasks = [of_kind("task", "sweep")?, of_kind("task", "mop")?, of_kind("task", "dust")?];
    let [sweep, mop, dust] = tasks.map(|task| delivery.send(task));
    let (sweep, mop, dust) = (sweep.await?, mop.await?, dust.await);
    assert!(dust.is_err_and(|refused| matches!(refused.why, Refused::MailboxFull)));
    println!("the third task: refused, and its sender knows it");

    let here = delivery.send(of_kind("here", "Bob is typing")?).await?;
    says("a sign of life for somebody who is away", here, Outcome::Expired).await;

    // The sender decides for each alarm: a drill is for those who are here, a fire waits.
    let (drill, fire) = (Policy::Immediate, Policy::Deferred(Strategy::Wake));
    let drill = delivery.send_by(drill, of_kind("alarm", "drill")?).await?;
    let fire = delivery.send_by(fire, of_kind("alarm", "fire")?).await?;
    says("the drill", drill, Outcome::Expired).await;

    screen.on.store(true, SeqCst);
    delivery.arrived(&ada);
    for (name, receipt) in
        [("the newer quote", new), ("sweep", sweep), ("mop", mop), ("fire", fire)]
    {
        says(name, receipt, Outcome::Delivered).await;
    }
    let shows = screen.shows.lock().unwrap_or_else(PoisonError::into_inner).join(", ");
    assert_eq!(shows, r#"quote "1.11", task "sweep", task "mop", alarm "fire""#);
    println!("The screen shows: {shows}");
    Ok(())
}

async fn says(name: &str, receipt: Receipt, expected: Outcome) {
    let outcome = receipt.outcome().await;
    assert_eq!(outcome, Some(expected), "{name}");
    println!("{name}: {expected}");
}
