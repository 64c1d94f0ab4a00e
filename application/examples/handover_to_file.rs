//! A stopping process leaves what waits in a file, and the next process takes it up.
//!
//! `cargo run -p doorstep-application --example handover_to_file`

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use doorstep_application::delivery::Delivery;
use doorstep_domain::ports::{
    Attempt, Clock, Handover, Left, Presence, PushError, Pushed, Pusher, StoreError,
};
use doorstep_domain::{
    Notification, NotificationId, Outcome, Payload, SystemClock, Timestamp, UserId,
};
use tokio::sync::mpsc;

/// Notifications in a file, one per line. One process uses the file at a time.
///
/// Every change writes the whole file, and blocks the thread while it does: a stop and a start make few changes.
pub(crate) struct HandoverFile {
    path: PathBuf,
    lines: Mutex<Lines>,
}

/// What is in the file: the place of each notification in the order of all, and the notification.
#[derive(Clone, Default)]
struct Lines(Vec<(u64, Notification)>);

impl HandoverFile {
    /// Opens the file, or begins an empty one.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let lines = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        Ok(Self { path: path.to_owned(), lines: Mutex::new(Lines(lines)) })
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a new state to the file, and only then keeps it: all or nothing.
    fn replace(&self, lines: &mut Lines, new: Lines) -> Result<(), StoreError> {
        self.write(&new).map_err(|error| StoreError::Unavailable(error.into()))?;
        *lines = new;
        Ok(())
    }

    fn write(&self, lines: &Lines) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file = File::create(&new)?;
        for line in &lines.0 {
            writeln!(file, "{}", serde_json::to_string(line)?)?;
        }
        // On the disk before it replaces the old file: a crash leaves the one or the other.
        file.sync_all()?;
        fs::rename(new, &self.path)?;
        // The new name, too.
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }

    /// Takes at most `limit` notifications that `wanted` chooses, in their order.
    fn take_where(
        &self,
        limit: usize,
        wanted: impl Fn(&Notification) -> bool,
    ) -> Result<Vec<Notification>, StoreError> {
        let mut lines = self.lines();
        let (mut taken, mut rest) = (Vec::new(), Vec::new());
        for (place, notification) in &lines.0 {
            if taken.len() < limit && wanted(notification) {
                taken.push(notification.clone());
            } else {
                rest.push((*place, notification.clone()));
            }
        }
        if !taken.is_empty() {
            self.replace(&mut lines, Lines(rest))?;
        }
        Ok(taken)
    }
}

#[async_trait]
impl Handover for HandoverFile {
    async fn leave(&self, waiting: &[Notification]) -> Result<(), StoreError> {
        let mut lines = self.lines();
        let mut new = lines.clone();
        for notification in waiting {
            if new.0.iter().all(|(_, known)| known.id != notification.id) {
                let place = new.0.last().map_or(1, |(last, _)| last + 1);
                new.0.push((place, notification.clone()));
            }
        }
        self.replace(&mut lines, new)
    }

    async fn take(&self, limit: usize) -> Result<Vec<Notification>, StoreError> {
        self.take_where(limit, |_| true)
    }

    async fn take_for(&self, user: &UserId, limit: usize) -> Result<Vec<Notification>, StoreError> {
        self.take_where(limit, |n| n.user_id == *user)
    }

    async fn take_one(&self, id: NotificationId) -> Result<Option<Notification>, StoreError> {
        Ok(self.take_where(1, |n| n.id == id)?.pop())
    }

    async fn take_expired(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Notification>, StoreError> {
        let ended =
            |n: &Notification| n.ttl.is_some_and(|ttl| n.created_at + ttl.as_duration() <= now);
        self.take_where(limit, ended)
    }

    async fn look(&self, after: u64, limit: usize) -> Result<Vec<Left>, StoreError> {
        let lines = self.lines();
        let behind = lines.0.iter().filter(|(place, _)| *place > after).take(limit);
        Ok(behind.map(|(place, n)| Left { place: *place, user: n.user_id.clone() }).collect())
    }

    fn is_shared(&self) -> bool {
        false
    }
}

/// One user at most is here: the one whose frames are sent.
#[derive(Default)]
struct Door(Mutex<Option<(UserId, mpsc::UnboundedSender<Notification>)>>);

impl Door {
    fn open_for(&self, user: &UserId) -> mpsc::UnboundedReceiver<Notification> {
        let (sender, frames) = mpsc::unbounded_channel();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((user.clone(), sender));
        frames
    }

    fn sender(&self, user: &UserId) -> Option<mpsc::UnboundedSender<Notification>> {
        let here = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        here.as_ref().filter(|(who, _)| who == user).map(|(_, sender)| sender.clone())
    }
}

#[async_trait]
impl Presence for Door {
    async fn is_online(&self, user: &UserId) -> bool {
        self.sender(user).is_some()
    }
}

#[async_trait]
impl Pusher for Door {
    async fn push(&self, n: &Notification, _: Attempt, _: Timestamp) -> Result<Pushed, PushError> {
        let sent = self.sender(&n.user_id).is_some_and(|sender| sender.send(n.clone()).is_ok());
        Ok(if sent { Pushed::Written } else { Pushed::Nobody })
    }
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let name = format!("doorstep-{}", NotificationId::now_v7());
    let path = std::env::temp_dir().join(name).with_extension("jsonl");
    let (clock, ada) = (Arc::new(SystemClock::start()), "ada".parse::<UserId>()?);

    // The first process: Ada is away, and it stops.
    let (door, file) = (Arc::new(Door::default()), Arc::new(HandoverFile::open(&path)?));
    let builder = Delivery::builder(door.clone(), door, clock.clone());
    let first = builder.handover(file).start()?;
    let (id, payload) = (NotificationId::now_v7(), Payload::new("your order is on its way")?);
    let sent = Notification::new(id, ada.clone(), "order.sent".parse()?, payload, clock.wall());
    drop(first.send(sent.clone()).await?);
    let stopped = first.stop(Duration::from_secs(5)).await;
    assert_eq!((stopped.handed_over, stopped.dropped), (1, 0));
    println!("The first process stopped and left this:\n{}", fs::read_to_string(&path)?);

    // The next process, with its own state: it takes up, and Ada arrives.
    let (door, file) = (Arc::new(Door::default()), Arc::new(HandoverFile::open(&path)?));
    let builder = Delivery::builder(door.clone(), door.clone(), clock);
    let next = builder.handover(file).start()?;
    assert_eq!(next.take_up().await?, 1);
    let mut frames = door.open_for(&ada);
    next.arrived(&ada);
    let got = frames.recv().await.ok_or("the connection ended")?;
    assert_eq!((got.id, got.payload), (sent.id, sent.payload));
    println!("The next process took it up, and Ada has it.");

    next.stop(Duration::from_secs(5)).await;
    assert_eq!(next.ended(Outcome::Delivered), 1);
    assert_eq!(fs::read_to_string(&path)?, "");
    println!("Nothing is left in the file.");
    Ok(fs::remove_file(path)?)
}
