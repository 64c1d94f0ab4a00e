use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::steady::at_rate;
use super::{listen, open, publishers, tickets};
use crate::figures::{Figures, per, to_f64};
use crate::messages::Journeys;
use crate::servers::Running;

/// What happens to the connections after they have been opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Idle {
    /// Whether they acknowledge: the server then sends heartbeats too.
    pub(crate) acknowledges: bool,
    /// How long they do nothing.
    pub(crate) lasts: Duration,
    /// How many messages per second some of them then get, for ten seconds; 0 for none.
    pub(crate) pushes: u32,
    /// Whether the server is then asked to stop.
    pub(crate) stop: bool,
}

/// Opens this many connections, and leaves them alone.
pub(crate) async fn idle(server: &Running, count: usize, then: Idle) -> Figures {
    let tickets = tickets(server, count, then.acknowledges);
    let (resident, cpu) = (server.processes.resident(), server.processes.cpu());
    let begun = Instant::now();
    let open = open(server, tickets).await;
    let (took, opened) = (begun.elapsed(), server.processes.cpu_since(cpu));
    let mut figures = Figures::default();
    figures.add("connections", per(1.0, 1) * to_f64(u64::try_from(count).unwrap_or(u64::MAX)));
    figures.add("opened, s", took.as_secs_f64());
    figures.add("handshakes/s", 1.0 / per(took.as_secs_f64(), count));
    figures.add("server CPU of a handshake, us", per(opened, count));
    // What a handshake has allocated for a moment may go at the first pause.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let used = server.processes.resident().saturating_sub(resident);
    figures.add("idle connection, resident bytes", per(to_f64(used), count));
    let journeys = Rc::new(Journeys::new());
    let listening = listen(open, &journeys);
    if !then.lasts.is_zero() {
        eprintln!("  idle for {} s", then.lasts.as_secs());
        let cpu = server.processes.cpu();
        tokio::time::sleep(then.lasts).await;
        let took = server.processes.cpu_since(cpu);
        let periods = then.lasts.as_secs_f64() / 25.0;
        figures.add("CPU of an idle connection in 25 s, us", per(took, count) / periods);
    }
    if then.pushes > 0 {
        let publishers = publishers(server).await;
        let lasts = Duration::from_secs(10);
        at_rate(server, publishers, count, then.pushes, lasts, &journeys).await;
        super::all_received(&journeys).await;
        figures.add_times("publish to receipt", &journeys.times());
    }
    if then.stop {
        stop(server, listening, &mut figures).await;
    }
    figures
}

/// Asks the server to stop, and notes when its connections ended.
async fn stop(server: &Running, mut listening: JoinSet<()>, figures: &mut Figures) {
    let begun = Instant::now();
    server.terminate();
    let mut ended = Vec::with_capacity(listening.len());
    while listening.join_next().await.is_some() {
        ended.push(begun.elapsed());
    }
    let last = ended.last().copied().unwrap_or_default();
    figures.add("stop: all connections ended, s", last.as_secs_f64());
    // The most that ended within a tenth of that time.
    let tenth = last / 10;
    let most = (0..ended.len())
        .map(|first| ended[first..].partition_point(|end| *end < ended[first] + tenth))
        .max();
    let most = u64::try_from(most.unwrap_or(0)).unwrap_or(u64::MAX);
    figures.add("stop: most in a tenth of it, %", 100.0 * per(to_f64(most), ended.len()));
}
